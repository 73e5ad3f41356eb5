"""What another service said of products, for as long as that may count."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

Word = TypeVar("Word")
Clock = Callable[[], float]


class Memory(Generic[Word]):
    """The last word on each product. Each process has one of its own.

    Args:
        seconds: how long a word counts, from when it was asked for.
        size: products at most; the ones asked for longest ago go first.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, size: int, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._told: dict[str, tuple[float, Word]] = {}

    def keep(self, words: Mapping[str, Word], asked_at: float) -> None:
        for product_id, word in words.items():
            before, _ = self._told.get(product_id, (asked_at, word))
            if before <= asked_at:  # else the answer to a later question was faster
                self._told.pop(product_id, None)  # to the end: the dictionary's order is by age
                self._told[product_id] = (asked_at, word)
        while len(self._told) > self._size:
            del self._told[next(iter(self._told))]

    def recall(self, product_ids: Iterable[str]) -> dict[str, Word]:
        """What still counts; the other products are left out."""
        oldest = self._clock() - self._seconds
        found = ((one, self._told[one]) for one in product_ids if one in self._told)
        return {one: word for one, (asked_at, word) in found if asked_at >= oldest}

    def forget(self, product_ids: Iterable[str]) -> None:
        for product_id in product_ids:
            self._told.pop(product_id, None)
