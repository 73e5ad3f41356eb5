"""In-memory repository. test_product_repository.py runs on it and on the real one."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from bson import ObjectId

from app.models.changes import Change, ChangePage, Position, RecentChanges
from app.models.page import PageRequest
from app.models.product import ListPrice, Product
from app.models.search_query import SearchFilter, fold


class FakeProductRepository:
    """Every method first yields to other tasks, as a call to a server does."""

    def __init__(self) -> None:
        self._products: dict[ObjectId, Product] = {}
        self._removed: dict[ObjectId, datetime] = {}
        self._changes: dict[ObjectId, Position] = {}
        self._times = count(1)

    async def add(self, product: Product) -> None:
        await asyncio.sleep(0)
        self._products[product.id] = product
        self._stamp(product.id)

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
        self._stamp(product.id)
        return True

    async def remove(self, product: Product, at: datetime) -> bool:
        await asyncio.sleep(0)
        self._removed.setdefault(product.id, at)
        stored = self._products.get(product.id)
        if stored is None or stored.revision != product.revision:
            return False
        del self._products[product.id]
        self._stamp(product.id)
        return True

    async def list_prices(
        self, product_ids: Collection[ObjectId]
    ) -> dict[ObjectId, ListPrice | None]:
        await asyncio.sleep(0)
        dead: dict[ObjectId, ListPrice | None] = dict.fromkeys(self._removed)
        living = {one.id: ListPrice(one.price, one.name) for one in self._products.values()}
        return {one: price for one, price in (dead | living).items() if one in product_ids}

    async def page(self, request: PageRequest) -> list[Product]:
        await asyncio.sleep(0)
        chosen = [product for product in self._products.values() if _fits(product, request.filter)]
        field, descending = request.sort.removeprefix("-"), request.sort.startswith("-")

        def key(product: Product) -> tuple[Any, ObjectId]:
            return _sort_value(product, field), product.id

        chosen.sort(key=key, reverse=descending)
        if request.after is None:
            skipped = (request.page - 1) * request.page_size
        else:
            last: tuple[Any, ObjectId] = request.after.value, request.after.product_id
            skipped = sum(key(one) >= last if descending else key(one) <= last for one in chosen)
        return chosen[skipped : skipped + request.page_size]

    async def count(self, chosen: SearchFilter) -> int:
        await asyncio.sleep(0)
        return sum(_fits(product, chosen) for product in self._products.values())

    async def all(self) -> AsyncIterator[Product]:
        for product_id in sorted(self._products):
            await asyncio.sleep(0)
            if (product := self._products.get(product_id)) is not None:
                yield product

    async def following(self, product_id: ObjectId | None, limit: int) -> list[Product]:
        await asyncio.sleep(0)
        ids = [one for one in sorted(self._products) if product_id is None or one > product_id]
        return [self._products[one] for one in ids[:limit]]

    async def imported(self, external_ids: Collection[str]) -> dict[str, Product]:
        await asyncio.sleep(0)
        known = {one.external_id or str(one.id): one for one in self._products.values()}
        return {one: known[one] for one in external_ids if one in known}

    async def write_many(self, products: Collection[Product]) -> set[ObjectId]:
        return {one.id for one in products if not await self._write(one)}

    async def _write(self, product: Product) -> bool:
        if product.revision > 1:
            return await self.replace(product)
        if product.external_id in {one.external_id for one in self._products.values()}:
            return False
        await self.add(product)
        return True

    async def latest(self) -> Position:
        await asyncio.sleep(0)
        return max(self._changes.values(), default=Position())

    async def changed_since(self, position: Position) -> RecentChanges:
        await asyncio.sleep(0)
        changed = [one for one, at in self._changes.items() if at >= position]
        living = {one: self._products[one].revision for one in changed if one in self._products}
        return RecentChanges(living, {one for one in changed if one not in living})

    async def close_tombstones(self) -> None:
        await asyncio.sleep(0)

    async def changes(self, after: Position, limit: int) -> ChangePage:
        await asyncio.sleep(0)
        later = sorted(position for position in self._changes.values() if position > after)
        page = [Change(one, self._products.get(one.product_id)) for one in later[:limit]]
        return ChangePage(page, later[: len(page)][-1] if page else after, len(later) <= limit)

    def _stamp(self, product_id: ObjectId) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=next(self._times))
        self._changes[product_id] = Position(at, product_id)


def _fits(product: Product, chosen: SearchFilter) -> bool:
    return (
        (chosen.category is None or fold(product.category) == fold(chosen.category))
        and (chosen.min_price is None or product.price >= chosen.min_price)
        and (chosen.max_price is None or product.price <= chosen.max_price)
        and (chosen.in_stock is None or (product.stock_quantity > 0) == chosen.in_stock)
    )


def _sort_value(product: Product, field: str) -> object:
    return fold(product.name) if field == "name" else getattr(product, field)
