"""Fields of all products as NumPy arrays, one element for each slot."""

from bisect import bisect_right
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from app.models.product import Product, milliseconds
from app.models.search_query import SearchFilter, fold
from chassis.field_types import CENT

Mask = NDArray[np.bool_]

PRICE_BOUNDS = (0, 10, 25, 50, 100, 250, 500, 1_000)
"""Lower bounds of the price ranges that are counted."""

_FIRST_CAPACITY = 1_024
_BOUNDS_IN_CENTS = [100 * bound for bound in PRICE_BOUNDS]
_NO_ID = ObjectId("0" * 24)


class NumberedTexts:
    """Texts with a number for each distinct folded text, and the spelling stored last."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.texts: list[str] = []

    def number(self, text: str) -> int:
        number = self._numbers.setdefault(fold(text), len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        else:
            self.texts[number] = text
        return number

    def find(self, text: str) -> int | None:
        return self._numbers.get(fold(text))


class ProductColumns:
    """Price, category, tags, stock, age and name of the products. A slot is free or in use."""

    def __init__(self) -> None:
        self.capacity = 0
        self.categories = NumberedTexts()
        self.tags = NumberedTexts()
        self.ids: list[ObjectId] = []  # of a free slot: of its last product
        self.names: list[str] = []
        self.spellings: list[str] = []
        self.used: Mask = np.zeros(0, dtype=np.bool_)
        self.cents = np.zeros(0, dtype=np.int64)
        self.price_range = np.zeros(0, dtype=np.int64)  # index into PRICE_BOUNDS
        self.created = np.zeros(0, dtype=np.int64)
        self.revision = np.zeros(0, dtype=np.int64)
        self.category = np.zeros(0, dtype=np.int64)
        self.in_stock: Mask = np.zeros(0, dtype=np.bool_)
        self.name_length = np.zeros(0, dtype=np.int64)
        self.name_start = np.zeros(0, dtype=np.int64)
        self.tag_numbers = np.full((0, 1), -1, dtype=np.int32)
        self._free: list[int] = []

    def claim(self, product: Product) -> int:
        """Store a product in a free slot and return the slot."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.ids[slot] = product.id
        self.names[slot] = fold(product.name)
        self.spellings[slot] = product.name
        self.used[slot] = True
        self.cents[slot] = cents = int(product.price / CENT)
        self.price_range[slot] = bisect_right(_BOUNDS_IN_CENTS, cents) - 1
        self.created[slot] = milliseconds(product.created_at)
        self.revision[slot] = product.revision
        self.category[slot] = self.categories.number(product.category)
        self.in_stock[slot] = product.stock_quantity > 0
        self.name_length[slot] = len(self.names[slot])
        self.name_start[slot] = name_start(self.names[slot])
        tags = list(dict.fromkeys(map(self.tags.number, product.tags)))
        if len(tags) > self.tag_numbers.shape[1]:
            added = np.full((self.capacity, len(tags) - self.tag_numbers.shape[1]), -1, np.int32)
            self.tag_numbers = np.hstack([self.tag_numbers, added])
        self.tag_numbers[slot] = -1
        self.tag_numbers[slot, : len(tags)] = tags
        return slot

    def release(self, slot: int) -> None:
        """Free a slot."""
        self.names[slot] = self.spellings[slot] = ""
        self.used[slot] = False
        self._free.append(slot)

    def matching(self, chosen: SearchFilter) -> Mask:
        """Return for each slot whether its product meets the filter."""
        mask = self.used
        if chosen.category is not None:
            number = self.categories.find(chosen.category)
            mask = mask & (self.category == (-1 if number is None else number))
        if chosen.min_price is not None:
            mask = mask & (self.cents >= int(chosen.min_price / CENT))
        if chosen.max_price is not None:
            mask = mask & (self.cents <= int(chosen.max_price / CENT))
        if chosen.in_stock is not None:
            mask = mask & (self.in_stock == chosen.in_stock)
        return mask

    def _grow(self) -> None:
        old, self.capacity = self.capacity, max(_FIRST_CAPACITY, 2 * self.capacity)
        added = self.capacity - old

        def longer(column: NDArray[Any], filler: int = 0) -> NDArray[Any]:
            shape = (added, *column.shape[1:])
            return np.concatenate([column, np.full(shape, filler, dtype=column.dtype)])

        self.used = longer(self.used)
        self.cents = longer(self.cents)
        self.price_range = longer(self.price_range)
        self.created = longer(self.created)
        self.revision = longer(self.revision)
        self.category = longer(self.category)
        self.in_stock = longer(self.in_stock)
        self.name_length = longer(self.name_length)
        self.name_start = longer(self.name_start)
        self.tag_numbers = longer(self.tag_numbers, -1)
        self.ids += [_NO_ID] * added
        self.names += [""] * added
        self.spellings += [""] * added
        self._free += range(self.capacity - 1, old - 1, -1)


def name_start(text: str) -> int:
    """Return the first seven bytes of a folded name as a number that sorts like the name."""
    return int.from_bytes(text.encode()[:7].ljust(7, b"\0"))
