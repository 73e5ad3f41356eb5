"""In-memory repository. test_product_repository.py runs on it and on the real one."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime

from bson import ObjectId

from app.models.product import ListPrice, Product
from app.models.search import SearchEntry, SearchQuery, fold, whole_words
from app.repositories.product_repository import PageRequest


class FakeProductRepository:
    """Every method first yields to other tasks, as a call to a server does."""

    def __init__(self) -> None:
        self._products: dict[ObjectId, Product] = {}
        self._removed: dict[ObjectId, datetime] = {}

    async def add(self, product: Product) -> None:
        await asyncio.sleep(0)
        self._products[product.id] = product

    async def get(self, product_id: ObjectId) -> Product | None:
        await asyncio.sleep(0)
        return self._products.get(product_id)

    async def get_many(self, product_ids: Sequence[ObjectId]) -> list[Product]:
        await asyncio.sleep(0)
        return [self._products[one] for one in product_ids if one in self._products]

    async def replace(self, product: Product) -> bool:
        await asyncio.sleep(0)
        stored = self._products.get(product.id)
        if stored is None or stored.revision != product.revision - 1:
            return False
        self._products[product.id] = product
        return True

    async def remove(self, product: Product, at: datetime) -> bool:
        await asyncio.sleep(0)
        self._removed.setdefault(product.id, at)
        stored = self._products.get(product.id)
        if stored is None or stored.revision != product.revision:
            return False
        del self._products[product.id]
        return True

    async def list_prices(
        self, product_ids: Collection[ObjectId]
    ) -> dict[ObjectId, ListPrice | None]:
        await asyncio.sleep(0)
        dead: dict[ObjectId, ListPrice | None] = dict.fromkeys(self._removed)
        living = {one.id: ListPrice(one.price, one.name) for one in self._products.values()}
        return {one: price for one, price in (dead | living).items() if one in product_ids}

    async def page(self, request: PageRequest) -> tuple[list[Product], int]:
        await asyncio.sleep(0)
        chosen = [product for product in self._products.values() if _fits(product, request)]
        field = request.sort.removeprefix("-")
        chosen.sort(
            key=lambda product: (_sort_value(product, field), product.id),
            reverse=request.sort.startswith("-"),
        )
        skipped = (request.page - 1) * request.page_size
        return chosen[skipped : skipped + request.page_size], len(chosen)

    async def named(self, query: SearchQuery) -> list[SearchEntry]:
        await asyncio.sleep(0)
        return [
            entry
            for entry in self._entries()
            if entry.name.startswith(query.phrase) or set(query.words) <= whole_words(entry.name)
        ]

    async def mentioning(self, words: Sequence[str], *, every: bool) -> list[SearchEntry]:
        await asyncio.sleep(0)
        enough = all if every else any
        return [
            entry
            for entry in self._entries()
            if enough(
                any(word in text for text in (entry.name, entry.category, *entry.tags))
                for word in words
            )
        ]

    def _entries(self) -> list[SearchEntry]:
        return [
            SearchEntry(one.id, fold(one.name), fold(one.category), tuple(map(fold, one.tags)))
            for one in self._products.values()
        ]


def _fits(product: Product, request: PageRequest) -> bool:
    return (
        (request.category is None or fold(product.category) == fold(request.category))
        and (request.min_price is None or product.price >= request.min_price)
        and (request.max_price is None or product.price <= request.max_price)
    )


def _sort_value(product: Product, field: str) -> object:
    return fold(product.name) if field == "name" else getattr(product, field)
