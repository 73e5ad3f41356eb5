"""What goes with a product."""

from collections.abc import Sequence

import pytest

from app.retrieval.index import CatalogueIndex
from app.retrieval.language import Languages
from app.schemas.product import Product
from app.services.co_purchases import BoughtTogether
from app.services.recommending import Recommending
from tests.samples import index_of, row, seed_rows


@pytest.fixture(scope="module")
def index(languages: Languages) -> CatalogueIndex:
    return index_of(seed_rows(), languages)


def names(products: Sequence[Product]) -> list[str]:
    return [product.name for product in products]


def id_of(index: CatalogueIndex, name: str) -> str:
    return index.named(name)[0].id


def test_never_the_product_that_was_asked_about(index: CatalogueIndex) -> None:
    recommending = Recommending(BoughtTogether(100))
    for product in index.products:
        for asked in (product.name, product.name.upper(), f" {product.name} "):
            found = recommending.recommend(index, asked, None, 50)
            assert found
            assert product.name not in names(found)


def test_nor_another_product_of_the_same_name(languages: Languages) -> None:
    rows = [row(1, name="Lamp"), row(2, name="lamp"), row(3, name="Lamp shade")]
    found = Recommending(BoughtTogether(9)).recommend(index_of(rows, languages), "Lamp", None, 5)
    assert names(found) == ["Lamp shade"]


def test_what_is_bought_together_comes_first(index: CatalogueIndex) -> None:
    habits = BoughtTogether(100)
    lamp, socks = id_of(index, "Desk Lamp Halo"), id_of(index, "Merino Hiking Socks")
    recommending = Recommending(habits)
    before = names(recommending.recommend(index, "Desk Lamp Halo", None, 5))
    assert "Merino Hiking Socks" not in before
    for _ in range(10):
        habits.learn([lamp, socks])
    assert names(recommending.recommend(index, "Desk Lamp Halo", None, 5))[0] == (
        "Merino Hiking Socks"
    )
    assert recommending.bought_together(socks, [lamp])


def test_a_category_holds_and_is_filled_up(index: CatalogueIndex) -> None:
    recommending = Recommending(BoughtTogether(100))
    found = recommending.recommend(index, "Desk Lamp Halo", "books", 10)
    assert {product.category for product in found} == {"Books"}
    assert len(found) == 5
    assert recommending.recommend(index, None, "No such thing", 5) == []
    books = recommending.recommend(index, "Drawing Every Day", "Books", 10)
    assert len(books) == 4
    assert "Drawing Every Day" not in names(books)


def test_without_a_name_the_popular_ones(index: CatalogueIndex) -> None:
    habits = BoughtTogether(100)
    clock = id_of(index, "Wall Clock Birch")
    habits.learn([clock])
    found = Recommending(habits).recommend(index, None, None, 3)
    assert found[0].id == clock
    assert len(found) == 3


def test_a_product_that_is_not_there_any_more_is_not_recommended(index: CatalogueIndex) -> None:
    habits = BoughtTogether(100)
    for _ in range(5):
        habits.learn([id_of(index, "Desk Lamp Halo"), "deleted"])
    found = Recommending(habits).recommend(index, "Desk Lamp Halo", None, 50)
    assert "deleted" not in {product.id for product in found}


def test_an_unknown_name_is_answered_by_its_words(index: CatalogueIndex) -> None:
    found = Recommending(BoughtTogether(9)).recommend(index, "Nimbus Wool Blanket XL", None, 3)
    assert found[0].name == "Wool Throw Blanket"
    assert len(Recommending(BoughtTogether(9)).recommend(index, "Xyzzy", None, 3)) == 3


def test_memory_is_bounded() -> None:
    habits = BoughtTogether(50)
    for number in range(2_000):
        habits.learn(["hub", *(f"p{number}-{n}" for n in range(30))])
    assert len(habits) == 50
    assert len(habits.partners("hub")) <= 40
    assert habits.orders_of("hub") == 2_000
    assert habits.orders_of("p0-0") == 0
