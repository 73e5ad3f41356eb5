"""Recommendations and co-purchase counts."""

from collections.abc import Sequence

import pytest

from app.retrieval.index import CatalogueIndex
from app.retrieval.language import Languages
from app.schemas.product import Product
from app.services.co_purchases import CoPurchases
from app.services.recommender import Recommender
from tests.samples import index_of, row, seed_rows


@pytest.fixture(scope="module")
def index(languages: Languages) -> CatalogueIndex:
    return index_of(seed_rows(), languages)


def names(products: Sequence[Product]) -> list[str]:
    return [product.name for product in products]


def id_of(index: CatalogueIndex, name: str) -> str:
    return index.find_by_name(name)[0].id


def test_recommendations_exclude_named_product(index: CatalogueIndex) -> None:
    recommender = Recommender(CoPurchases(100))
    for product in index.products:
        for requested in (product.name, product.name.upper(), f" {product.name} "):
            found = recommender.recommend(index, requested, None, 50)
            assert found
            assert product.name not in names(found)


def test_recommendations_exclude_products_with_same_name(languages: Languages) -> None:
    rows = [row(1, name="Lamp"), row(2, name="lamp"), row(3, name="Lamp shade")]
    found = Recommender(CoPurchases(9)).recommend(index_of(rows, languages), "Lamp", None, 5)
    assert names(found) == ["Lamp shade"]


def test_co_purchased_product_is_recommended_first(index: CatalogueIndex) -> None:
    co_purchases = CoPurchases(100)
    lamp, socks = id_of(index, "Desk Lamp Halo"), id_of(index, "Merino Hiking Socks")
    recommender = Recommender(co_purchases)
    before = names(recommender.recommend(index, "Desk Lamp Halo", None, 5))
    assert "Merino Hiking Socks" not in before
    for _ in range(10):
        co_purchases.add_order([lamp, socks])
    assert names(recommender.recommend(index, "Desk Lamp Halo", None, 5))[0] == (
        "Merino Hiking Socks"
    )
    assert recommender.bought_together(socks, [lamp])


def test_recommendations_of_category_are_filled_with_popular_products(
    index: CatalogueIndex,
) -> None:
    recommender = Recommender(CoPurchases(100))
    found = recommender.recommend(index, "Desk Lamp Halo", "books", 10)
    assert {product.category for product in found} == {"Books"}
    assert len(found) == 5
    assert recommender.recommend(index, None, "No such thing", 5) == []
    books = recommender.recommend(index, "Drawing Every Day", "Books", 10)
    assert len(books) == 4
    assert "Drawing Every Day" not in names(books)


def test_recommendations_without_name_are_most_ordered_products(index: CatalogueIndex) -> None:
    co_purchases = CoPurchases(100)
    clock = id_of(index, "Wall Clock Birch")
    co_purchases.add_order([clock])
    found = Recommender(co_purchases).recommend(index, None, None, 3)
    assert found[0].id == clock
    assert len(found) == 3


def test_deleted_product_is_not_recommended(index: CatalogueIndex) -> None:
    co_purchases = CoPurchases(100)
    for _ in range(5):
        co_purchases.add_order([id_of(index, "Desk Lamp Halo"), "deleted"])
    found = Recommender(co_purchases).recommend(index, "Desk Lamp Halo", None, 50)
    assert "deleted" not in {product.id for product in found}


def test_unknown_name_is_searched_by_words(index: CatalogueIndex) -> None:
    found = Recommender(CoPurchases(9)).recommend(index, "Nimbus Wool Blanket XL", None, 3)
    assert found[0].name == "Wool Throw Blanket"
    assert len(Recommender(CoPurchases(9)).recommend(index, "Xyzzy", None, 3)) == 3


def test_co_purchase_counts_are_bounded() -> None:
    co_purchases = CoPurchases(50)
    for number in range(2_000):
        co_purchases.add_order(["hub", *(f"p{number}-{n}" for n in range(30))])
    assert len(co_purchases) == 50
    assert len(co_purchases.partners("hub")) <= 40
    assert co_purchases.order_count("hub") == 2_000
    assert co_purchases.order_count("p0-0") == 0
