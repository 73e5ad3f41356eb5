"""Every query of the repository and every list of the index, compared with an oracle in Python.

The oracle is the catalogue in memory (tests/fakes.py). The embedded server chooses a wrong plan for
some queries (local/README.md), so all filters, bounds and orders are combined. `TEST_MONGODB_URL`
runs the same comparison on another server.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product as combinations
from typing import Any, get_args

import httpx2
import pytest
from bson import ObjectId
from fastapi import FastAPI
from pymongo import AsyncMongoClient

from app.config import Settings
from app.database import PRODUCTS, Document
from app.models.changes import Change, Position
from app.models.page import PageRequest, PageStart
from app.models.product import Product
from app.models.search_query import SearchFilter
from app.repositories.product_repository import MongoProductRepository, refold
from app.schemas.product import SortOrder
from app.search.index import SearchIndex
from chassis.field_types import CENT
from tests.fakes import FakeProductRepository

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SEEDS = [1, 2]
CATEGORIES = ["Home", "Hom", "homes", "Köken", "Books", "10", "バス"]
WORDS = ["lamp", "Lampe", "desk", "Smørbrød", "red", "re", "wi-fi", "バス", "ハス", "C++", "(2nd)"]
PRICES = [Decimal(text) for text in ("0.01", "9.99", "10", "10.01", "20", "100", "9999999999.99")]
SORTS = get_args(SortOrder)


class Catalogues:
    """The same products in the database and in the oracle."""

    def __init__(self, real: MongoProductRepository, seed: int) -> None:
        self.real = real
        self.oracle = FakeProductRepository()
        self.random = random.Random(seed)
        self.start = Position()
        self.living: list[Product] = []
        self.removed: list[Product] = []

    async def fill(self) -> None:
        """Store 80 products; then edit 20 and delete 10, which changes entries of the indexes."""
        self.start = await self.real.latest()
        for _ in range(80):
            product = Product(**self._fields(), created_at=self._moment(), updated_at=NOON)
            self.living.append(product)
            await self.real.add(product)
            await self.oracle.add(product)
        for number in range(20):
            edited = self.living[number].edited(self._fields(), NOON)
            self.living[number] = edited
            assert await self.real.replace(edited)
            assert await self.oracle.replace(edited)
        for _ in range(10):
            product = self.living.pop(self.random.randrange(len(self.living)))
            self.removed.append(product)
            assert await self.real.remove(product, NOON)
            assert await self.oracle.remove(product, NOON)

    def _fields(self) -> dict[str, Any]:
        pick = self.random
        return {
            "name": " ".join(pick.choices(WORDS, k=pick.randint(1, 3))),
            "description": "",
            "price": pick.choice(PRICES),
            "category": pick.choice(CATEGORIES),
            "tags": pick.sample(WORDS, k=pick.randint(0, 3)),
            "stock_quantity": pick.randint(0, 3),
        }

    def _moment(self) -> datetime:
        return NOON + timedelta(milliseconds=self.random.randint(0, 5))


@pytest.fixture(params=SEEDS)
async def catalogues(
    request: pytest.FixtureRequest, settings: Settings, client: httpx2.AsyncClient
) -> AsyncIterator[Catalogues]:
    """The service's database with its indexes, behind a client that waits longer than the service:
    this file is about results, not about time."""
    url, name = settings.mongodb_url, settings.mongodb_database
    async with AsyncMongoClient[Document](url, tz_aware=True, timeoutMS=60_000) as patient:
        both = Catalogues(MongoProductRepository(patient[name], 60), request.param)
        await both.fill()
        yield both


async def assert_same_pages(both: Catalogues, requests: Sequence[PageRequest]) -> None:
    for start in range(0, len(requests), 20):
        some = requests[start : start + 20]
        answers = await asyncio.gather(*map(both.real.page, some))
        for request, answer in zip(some, answers, strict=True):
            assert answer == await both.oracle.page(request), request
            counted = await both.real.count(request.filter)
            assert counted == await both.oracle.count(request.filter), request


async def test_lists_with_every_filter_and_order(catalogues: Catalogues) -> None:
    """Each bound equals the price of some products and is next to that of others."""
    bounds = [None, *PRICES, *(price + CENT for price in PRICES[1:3])]
    filters = [
        (category, low, high)
        for category, low, high in combinations([None, "HOME", "nowhere"], bounds, bounds)
        if low is None or high is None or low <= high
    ]
    await assert_same_pages(
        catalogues,
        [
            PageRequest(
                SearchFilter(category, low, high), SORTS[number % len(SORTS)], page_size=100
            )
            for number, (category, low, high) in enumerate(filters)
        ],
    )


async def test_lists_with_random_filters_page_by_page(catalogues: Catalogues) -> None:
    pick = catalogues.random
    requests = []
    for _ in range(150):
        low, high = sorted(pick.choices(PRICES, k=2))
        requests.append(
            PageRequest(
                SearchFilter(
                    category=pick.choice([None, *CATEGORIES]),
                    min_price=pick.choice([None, low]),
                    max_price=pick.choice([None, high]),
                    in_stock=pick.choice([None, True, False]),
                ),
                pick.choice(SORTS),
                page=pick.randint(1, 4),
                page_size=pick.choice([1, 3, 10, 100]),
            )
        )
    await assert_same_pages(catalogues, requests)


async def test_lists_of_the_search_index(catalogues: Catalogues) -> None:
    """The same filters, orders, pages and cursors as the database's."""
    pick, index = catalogues.random, SearchIndex()
    for one in catalogues.living:
        index.put(one)
    for number in range(300):
        low, high = sorted(pick.choices(PRICES, k=2))
        chosen = SearchFilter(
            category=pick.choice([None, *CATEGORIES]),
            min_price=pick.choice([None, low]),
            max_price=pick.choice([None, high]),
            in_stock=pick.choice([None, True, False]),
        )
        page, size = pick.randint(1, 4), pick.choice([1, 3, 10, 100])
        request = PageRequest(chosen, pick.choice(SORTS), page, size)
        if number % 2 and catalogues.living:
            last = pick.choice(catalogues.living)
            request = replace(request, after=request.start_of_next(last))
        hits = index.page(request)
        expected = await catalogues.oracle.page(request)
        assert hits.product_ids == [one.id for one in expected], request
        assert hits.total == await catalogues.oracle.count(chosen)


async def test_walks_by_cursor_visit_each_product_once(catalogues: Catalogues) -> None:
    pick = catalogues.random
    for sort, category, low in combinations(SORTS, [None, "home"], [None, PRICES[2]]):
        chosen = SearchFilter(
            category=category, min_price=low, max_price=pick.choice([None, PRICES[5]])
        )
        request = PageRequest(chosen, sort, page_size=pick.choice([1, 3, 10]))
        walked = await catalogues.oracle.page(PageRequest(chosen, sort, page_size=100))
        found: list[Product] = []
        while page := await catalogues.real.page(request):
            found += page
            start = request.start_of_next(page[-1])
            assert start == PageStart.decode(start.encode(), sort)
            request = replace(request, after=start)
        assert found == walked, request


async def test_changes_of_all_products_in_order(
    catalogues: Catalogues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each product once, at its last revision or as deleted, for every size of a page."""
    real = catalogues.real
    monkeypatch.setattr(real, "_hold_back", timedelta())
    living = {one.id: one for one in catalogues.living}
    removed = {one.id for one in catalogues.removed}
    for limit in (1, 7, 1_000):
        position, seen = catalogues.start, list[Change]()
        while True:
            page = await real.changes(position, limit)
            seen += page.changes
            assert len(page.changes) <= limit
            position = page.next
            assert position == Position.decode(position.encode())
            if page.complete:
                break
        assert [one.position for one in seen] == sorted(one.position for one in seen)
        # The start position is some seconds old, so the deletions before this test come first.
        own = [one for one in seen if one.position.product_id in living.keys() | removed]
        assert {one.position.product_id: one.product for one in own} == living | dict.fromkeys(
            removed
        )
        assert len(own) == len(living) + len(removed)


async def test_lookups_by_id(catalogues: Catalogues) -> None:
    real, oracle, pick = catalogues.real, catalogues.oracle, catalogues.random
    every = [one.id for one in (*catalogues.living, *catalogues.removed)]
    for size in (1, 2, 10, 100):
        requested = [*pick.sample(every, k=min(size, len(every))), ObjectId()]
        assert await real.get_many(requested) == await oracle.get_many(requested)
        assert await real.list_prices(requested) == await oracle.list_prices(requested)
        for product_id in requested[:10]:
            assert await real.get(product_id) == await oracle.get(product_id)


async def test_guarded_writes(catalogues: Catalogues) -> None:
    """A write of an outdated revision changes nothing, although its id is stored."""
    for product in catalogues.living[:10]:
        for stale in (product, replace(product, revision=product.revision + 5)):
            assert not await catalogues.real.replace(stale)
        assert not await catalogues.real.remove(replace(product, revision=9), NOON)
        assert await catalogues.real.get(product.id) == product


async def test_refolding_selects_only_outdated_products(
    catalogues: Catalogues, app: FastAPI
) -> None:
    stored = app.state.database.catalogue[PRODUCTS]
    before = await stored.find({}, {"changed_at": False}).sort("_id", 1).to_list()
    for number, product in enumerate(catalogues.living[:20]):
        change = {"$unset": {"search": True}} if number % 2 else {"$set": {"search.folding": 1}}
        await stored.update_one({"_id": product.id}, change)
    await refold(app.state.database.catalogue)
    assert await stored.find({}, {"changed_at": False}).sort("_id", 1).to_list() == before
