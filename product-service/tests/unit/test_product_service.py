"""Rules of the catalogue, with the in-memory repository."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from app.errors import CatalogueUnavailable, ProductNotFound
from app.models.product import Listing, Product, now
from app.schemas.product import NewProduct
from app.search.index import SearchIndex
from app.services.product_service import ProductService
from tests.conftest import NewBody
from tests.fakes import FakeProductRepository

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def repository() -> FakeProductRepository:
    return FakeProductRepository()


@pytest.fixture
def service(repository: FakeProductRepository) -> ProductService:
    return ProductService(repository, SearchIndex())


@pytest.fixture
def new(body: NewBody) -> NewProduct:
    return NewProduct.model_validate(body())


def test_now_has_millisecond_precision() -> None:
    assert all(now().microsecond % 1_000 == 0 for _ in range(20))


async def test_edit_changes_updated_at_and_given_fields_only(
    repository: FakeProductRepository, new: NewProduct
) -> None:
    times: Iterator[datetime] = iter([NOON, NOON + timedelta(seconds=1)])
    service = ProductService(repository, SearchIndex(), clock=lambda: next(times))
    before = await service.create(new)
    after = await service.edit(before.id, {"name": "Other", "image_url": None})
    assert (after.name, after.image_url, after.price) == ("Other", None, before.price)
    assert (after.created_at, after.updated_at) == (NOON, NOON + timedelta(seconds=1))
    assert await service.read(before.id) == after


async def test_edit_with_clock_behind_does_not_decrease_updated_at(
    repository: FakeProductRepository, new: NewProduct
) -> None:
    times = iter([NOON, NOON - timedelta(hours=1)])
    service = ProductService(repository, SearchIndex(), clock=lambda: next(times))
    product = await service.create(new)
    assert (await service.edit(product.id, {"name": "Other"})).updated_at == NOON


async def test_empty_edit_changes_nothing(service: ProductService, new: NewProduct) -> None:
    product = await service.create(new)
    assert await service.edit(product.id, {}) == product


async def test_unknown_product_raises_not_found(service: ProductService) -> None:
    unknown = ObjectId()
    for call in (service.read(unknown), service.edit(unknown, {}), service.delete(unknown)):
        with pytest.raises(ProductNotFound):
            await call


async def test_concurrent_edits_are_all_applied(service: ProductService, new: NewProduct) -> None:
    product = await service.create(new)
    await asyncio.gather(
        service.edit(product.id, {"name": "Other"}),
        service.edit(product.id, {"stock_quantity": 3}),
        service.edit(product.id, {"category": "Garden"}),
    )
    stored = await service.read(product.id)
    assert (stored.name, stored.stock_quantity, stored.category) == ("Other", 3, "Garden")
    assert stored.revision == 4


async def test_edit_under_constant_contention_returns_503(new: NewProduct) -> None:
    class Contended(FakeProductRepository):
        async def replace(self, product: Product) -> bool:
            return False

    service = ProductService(Contended(), SearchIndex())
    product = await service.create(new)
    with pytest.raises(CatalogueUnavailable):
        await service.edit(product.id, {"name": "Other"})


async def test_one_of_two_concurrent_deletions_succeeds(
    service: ProductService, repository: FakeProductRepository, new: NewProduct
) -> None:
    product = await service.create(new)
    results = await asyncio.gather(
        service.delete(product.id), service.delete(product.id), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Product", "ProductNotFound"]
    assert await repository.list_prices([product.id]) == {product.id: None}


async def test_listings_return_price_of_each_id_and_unknown_for_others(
    service: ProductService, body: NewBody
) -> None:
    lamp, gone = [await service.create(NewProduct.model_validate(body())) for _ in range(2)]
    await service.delete(gone.id)
    spellings = (str(lamp.id), str(lamp.id).upper(), f" {lamp.id}")
    never = ("gift-card", str(ObjectId()), f"{lamp.id}0", "\u0660" * 24)
    requested = [*never, str(gone.id), *spellings]
    assert await service.listings(requested) == [
        *(Listing(text, "unknown") for text in never),
        Listing(str(gone.id), "deleted"),
        *(Listing(text, "listed", lamp.price, lamp.name) for text in spellings),
    ]


async def test_search_matches_any_word_only_if_no_product_has_all(
    service: ProductService, body: NewBody
) -> None:
    for name in ("Red lamp", "Red chair", "Blue lamp"):
        fields = body(name=name, category="x", tags=[])
        await service.create(NewProduct.model_validate(fields))
    assert [one.name for one in (await service.search("red lamp")).products] == ["Red lamp"]
    partly = await service.search("red sofa")
    assert {one.name for one in partly.products} == {"Red lamp", "Red chair"}
    assert (await service.search("sofa")).products == []
    assert (await service.search("\u0301")).products == []
    page = await service.search("red sofa", page=2, page_size=1)
    assert (len(page.products), page.total) == (1, 2)
