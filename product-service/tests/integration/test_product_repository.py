"""Tests of the repository on a real server and of its fake."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from bson import ObjectId
from fastapi import FastAPI

from app.config import Settings
from app.database import PRODUCTS, TOMBSTONES, UNUSED_INDEXES
from app.main import create_app
from app.models.page import PageRequest
from app.models.product import ListPrice, Product
from app.models.search_query import SearchFilter
from app.repositories import product_repository
from app.repositories.product_repository import MongoProductRepository, ProductRepository
from tests.fakes import FakeProductRepository
from tests.support import indexed, running, until

NOON = datetime(2026, 11, 23, 12, 0, 0, 125_000, tzinfo=UTC)


@pytest.fixture(params=["mongo", "fake"])
async def repository(
    request: pytest.FixtureRequest, app: FastAPI, client: httpx2.AsyncClient
) -> ProductRepository:
    real = MongoProductRepository(app.state.database.catalogue, timeout=2.5)
    return real if request.param == "mongo" else FakeProductRepository()


def product(name: str = "Lamp", price: str = "10.00", **fields: Any) -> Product:
    defaults: dict[str, Any] = {
        "description": "",
        "category": "Home",
        "tags": [],
        "stock_quantity": 1,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return Product(name=name, price=Decimal(price), **(defaults | fields))


async def add(repository: ProductRepository, *products: Product) -> None:
    for one in products:
        await repository.add(one)


async def names(
    repository: ProductRepository, sort: str = "-created_at", **chosen: Any
) -> list[str]:
    products = await repository.page(PageRequest(SearchFilter(**chosen), sort))
    return [one.name for one in products]


async def test_product_is_read_as_stored(repository: ProductRepository) -> None:
    stored = product(
        "Café", "9999999999.99", tags=["a", "b"], image_url="/x", description="\n\t漢😀"
    )
    await repository.add(stored)
    assert await repository.get(stored.id) == stored
    assert await repository.get(ObjectId()) is None


async def test_get_many_returns_products_in_order_of_ids(
    repository: ProductRepository,
) -> None:
    one, two = product("one"), product("two")
    await add(repository, one, two)
    assert await repository.get_many([two.id, ObjectId(), one.id]) == [two, one]


async def test_replace_succeeds_only_for_next_revision(repository: ProductRepository) -> None:
    first = product()
    await repository.add(first)
    second = first.edited({"name": "Second"}, NOON + timedelta(seconds=1))
    assert await repository.replace(second)
    assert not await repository.replace(first.edited({"name": "Late"}, NOON))
    assert await repository.get(first.id) == second
    assert not await repository.replace(product().edited({"name": "Unknown"}, NOON))


async def test_write_many_stores_what_has_not_changed_and_names_the_rest(
    repository: ProductRepository,
) -> None:
    stored, edited = product("stored", external_id="a"), product("edited", external_id="b")
    assert await repository.write_many([stored, edited]) == set()
    assert await repository.replace(edited.edited({"name": "theirs"}, NOON))
    new, taken = product("new", external_id="c"), product("taken", external_id="a")
    next_one = stored.edited({"name": "next"}, NOON)
    lost = edited.edited({"name": "ours"}, NOON)
    gone = product("gone").edited({"name": "unknown"}, NOON)
    writes = [new, taken, next_one, lost, gone]
    assert await repository.write_many(writes) == {taken.id, lost.id, gone.id}
    found = await repository.imported(["a", "b", "c", "d"])
    assert {key: one.name for key, one in found.items()} == {
        "a": "next", "b": "theirs", "c": "new"
    }  # fmt: skip
    assert len(await repository.following(None, 10)) == 3


async def test_product_that_was_not_imported_has_its_id_as_external_id(
    repository: ProductRepository,
) -> None:
    own, other = product("own"), product("other", external_id="x")
    await add(repository, own, other)
    found = await repository.imported([str(own.id), str(other.id), str(ObjectId()), "x"])
    assert found == {str(own.id): own, "x": other}


async def test_following_pages_have_each_product_once(repository: ProductRepository) -> None:
    products = sorted((product() for _ in range(7)), key=lambda one: one.id)
    await add(repository, *reversed(products))
    first = await repository.following(None, 4)
    assert first + await repository.following(first[-1].id, 4) == products
    assert await repository.following(products[-1].id, 4) == []


async def test_removed_product_leaves_tombstone(repository: ProductRepository) -> None:
    gone, alive = product("gone"), product("alive")
    await add(repository, gone, alive)
    assert await repository.remove(gone, NOON)
    assert not await repository.remove(gone, NOON)
    assert await repository.get(gone.id) is None
    assert await repository.page(PageRequest()) == [alive]
    assert await repository.count(SearchFilter()) == 1
    assert not await repository.replace(gone.edited({"name": "Zombie"}, NOON))
    requested = [gone.id, alive.id, ObjectId()]
    assert await repository.list_prices(requested) == {
        gone.id: None,
        alive.id: ListPrice(alive.price, "alive"),
    }


async def test_pages_are_sorted_as_requested_and_newest_first_by_default(
    repository: ProductRepository,
) -> None:
    later = NOON + timedelta(milliseconds=1)
    await add(
        repository,
        product("beta", "100"),
        product("Alpha", "20", created_at=later),
        product("gamma", "3.50"),
    )
    assert await names(repository) == ["Alpha", "gamma", "beta"]
    assert await names(repository, sort="created_at") == ["beta", "gamma", "Alpha"]
    assert await names(repository, sort="price") == ["gamma", "Alpha", "beta"]
    assert await names(repository, sort="-price") == ["beta", "Alpha", "gamma"]
    assert await names(repository, sort="name") == ["Alpha", "beta", "gamma"]


@pytest.mark.parametrize("sort", ["price", "-price", "name", "created_at", "-created_at"])
async def test_pages_of_equal_products_never_overlap(
    repository: ProductRepository, sort: str
) -> None:
    # Not stored in the order of the ids, so that only sorting by id gives that order.
    products = [product() for _ in range(25)]
    await add(repository, *products[::2], *products[1::2])
    seen = []
    for page in (1, 2, 3, 4):
        found = await repository.page(PageRequest(sort=sort, page=page))
        seen += [one.id for one in found]
    assert seen == sorted((one.id for one in products), reverse=sort.startswith("-"))


async def test_filters_apply_to_page_and_total(repository: ProductRepository) -> None:
    await add(
        repository,
        product("cheap", "9.99"),
        product("fair", "10.00"),
        product("dear", "100"),
        product("book", "10", category="Books"),
    )
    low, high = Decimal(10), Decimal("99.99")
    assert await names(repository, category="hOME", min_price=low, sort="name") == ["dear", "fair"]
    assert await names(repository, category="Hom") == []
    assert await names(repository, max_price=high, sort="name") == ["book", "cheap", "fair"]
    chosen = SearchFilter(min_price=low, max_price=high)
    assert len(await repository.page(PageRequest(chosen, page_size=1))) == 1
    assert await repository.count(chosen) == 2


async def test_interrupted_deletion_is_completed(app: FastAPI, client: httpx2.AsyncClient) -> None:
    """The process ended between the deletion and the stamp of the tombstone."""
    catalogue = app.state.database.catalogue
    real = MongoProductRepository(catalogue, timeout=2.5)
    gone, alive = product("gone"), product("alive")
    await add(real, gone, alive)
    start = await real.latest()
    for one in (gone, alive):
        pending = {"_id": one.id, "name": one.name, "changed_at": product_repository._PENDING}
        await catalogue[TOMBSTONES].insert_one(pending)
    await catalogue[PRODUCTS].delete_one({"_id": gone.id})
    recent = await real.changed_since(start)
    assert gone.id in recent.deleted
    assert alive.id not in recent.deleted
    await real.close_tombstones()
    stamps = {one["_id"]: one["changed_at"] async for one in catalogue[TOMBSTONES].find()}
    assert stamps[gone.id] < stamps[alive.id] == product_repository._PENDING


async def test_change_is_listed_after_the_hold_back_time(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    """A write may be stamped first and become visible last, but only within its deadline."""
    real = MongoProductRepository(app.state.database.catalogue, timeout=0.2)
    start = await real.latest()
    lamp = product("Lamp")
    await real.add(lamp)
    stamped = await app.state.database.catalogue[PRODUCTS].find_one({"_id": lamp.id})
    assert stamped is not None

    async def listed() -> bool:
        found = (await real.changes(start, 1_000)).changes
        return lamp.id in {one.position.product_id for one in found}

    await until(listed)
    assert (await real.latest()).at >= stamped["changed_at"]


async def test_products_of_earlier_version_are_refolded_at_start(
    app: FastAPI, settings: Settings, client: httpx2.AsyncClient
) -> None:
    """Stored search fields are those of the version that wrote them."""
    catalogue = app.state.database.catalogue
    real = MongoProductRepository(catalogue, timeout=2.5)
    bread, tea = product("Smørrebrød Kniv", category="Køkken"), product("バス時刻表")
    await add(real, bread, tea)
    stored = {"name": "smørrebrød kniv", "category": "køkken", "words": ["kniv"], "folding": 1}
    change = {"$set": {"search": stored}, "$unset": {"changed_at": True}}
    await catalogue[PRODUCTS].update_one({"_id": bread.id}, change)
    await catalogue[PRODUCTS].update_one({"_id": tea.id}, {"$unset": {"search": True}})
    assert await names(real, category="KOKKEN") == []
    async with running(create_app(settings)) as replica:
        await indexed(replica)
    after = await catalogue[PRODUCTS].find().sort("_id", 1).to_list()
    assert await names(real, category="KOKKEN") == [bread.name]
    assert await names(real, category="home") == [tea.name]
    assert [one["revision"] for one in after] == [1, 1]
    assert all(one["changed_at"] for one in after)
    await product_repository.refold(catalogue)
    assert await catalogue[PRODUCTS].find().sort("_id", 1).to_list() == after


async def test_indexes_of_earlier_version_are_dropped(
    app: FastAPI, settings: Settings, client: httpx2.AsyncClient
) -> None:
    products = app.state.database.catalogue[PRODUCTS]
    await products.create_index("search.words")
    async with running(create_app(settings)) as replica:
        await indexed(replica)
    assert not set(UNUSED_INDEXES).intersection(await products.index_information())
