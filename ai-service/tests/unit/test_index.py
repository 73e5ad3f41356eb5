"""Search over the seed's catalogue."""

import gc
import weakref
from decimal import Decimal

import pytest

from app.retrieval.index import CatalogueIndex, Found
from app.retrieval.language import Languages
from app.retrieval.prices import PriceRange
from app.retrieval.query_parser import Understanding, Wish
from tests.samples import index_of, row, seed_rows


@pytest.fixture(scope="module")
def index(languages: Languages) -> CatalogueIndex:
    return index_of(seed_rows(), languages)


def find(index: CatalogueIndex, languages: Languages, text: str, limit: int = 8) -> Found:
    return index.search(Understanding(languages).read(text), limit)


def names(found: Found) -> list[str]:
    return [product.name for product in found.products]


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("headphones", "Wireless Headphones Aria"),
        ("headfones", "Wireless Headphones Aria"),
        ("a desk lamp", "Desk Lamp Halo"),
        ("kids' train", "Wooden Train Set, 42 Pieces"),
        ("stargazing", "Field Guide to Night Skies"),
        ("KAFFEEMÜHLE", "Burr Coffee Grinder"),
        ("cheapest book", "Letters From the Lighthouse"),
        ("most expensive book", "Bread From Four Things"),
    ],
)
def test_the_best_match_comes_first(
    index: CatalogueIndex, languages: Languages, text: str, best: str
) -> None:
    assert names(find(index, languages, text))[0] == best


def test_every_hit_keeps_to_the_price(index: CatalogueIndex, languages: Languages) -> None:
    found = find(index, languages, "something between 20 and 40", limit=40)
    assert len(found.hits) > 10
    assert all(20 <= product.price <= 40 for product in found.products)


BOUNDS = ["0", "9.99", "10", "10.001", "10.01", "19.995", "20", "100", "9999999999.99", "1e30"]


@pytest.mark.parametrize("low", [None, *BOUNDS])
@pytest.mark.parametrize("high", [None, *BOUNDS])
def test_price_bounds_are_inclusive_and_exact(
    languages: Languages, low: str | None, high: str | None
) -> None:
    """Compared with Decimal; a bound such as 10 percent below a price has parts of a cent."""
    prices = ["0.01", "9.99", "10", "10.01", "19.99", "20", "20.01", "100", "9999999999.99"]
    rows = [row(number, name="Lamp", price=Decimal(p)) for number, p in enumerate(prices)]
    index = index_of(rows, languages)
    asked = PriceRange(
        None if low is None else Decimal(low), None if high is None else Decimal(high)
    )
    found = index.search(Wish("lamp", wanted=("lamp",), price=asked), limit=20)
    expected = {price for price in map(Decimal, prices) if asked.allows(price)}
    assert {product.price for product in found.products} == expected


def test_a_price_that_nothing_has_gives_nothing_and_tells_the_nearest(
    index: CatalogueIndex, languages: Languages
) -> None:
    found = find(index, languages, "a keyboard under 50")
    assert found.hits == ()
    assert found.nearest_price == Decimal("129.00")


def test_what_is_not_wanted_does_not_come(index: CatalogueIndex, languages: Languages) -> None:
    found = names(find(index, languages, "toys, but nothing made of wood", limit=40))
    assert "Magnetic Building Tiles, 60 Pieces" in found
    assert not {"Wooden Train Set, 42 Pieces", "Stacking Animals"} & set(found)


def test_a_colour_alone_is_no_match_for_a_thing_that_is_not_there(
    index: CatalogueIndex, languages: Languages
) -> None:
    """The head torch has a red light; it is no red bicycle."""
    found = find(index, languages, "a red bicycle")
    assert (found.hits, found.unknown) == ((), ("bicycle",))


def test_nor_is_a_red_thing_a_red_bicycle(languages: Languages) -> None:
    index = index_of([row(1, name="Red scarf", tags=["red"])], languages)
    assert find(index, languages, "a red bicycle").hits == ()
    assert names(find(index, languages, "something red")) == ["Red scarf"]


def test_a_word_of_a_description_is_no_match_for_a_thing_that_is_not_there(
    index: CatalogueIndex, languages: Languages
) -> None:
    """Linen that is washed is no washing machine."""
    assert find(index, languages, "washing machine").hits == ()


def test_what_is_sold_out_comes_last(languages: Languages) -> None:
    rows = [row(1, name="Lamp One", stock_quantity=0), row(2, name="Lamp Two")]
    assert names(find(index_of(rows, languages), languages, "lamp")) == ["Lamp Two", "Lamp One"]


def test_an_empty_catalogue_and_one_without_words_are_searched(languages: Languages) -> None:
    for rows in ([], [row(1, name="...", category="", tags=[])]):
        index = index_of(rows, languages)
        assert find(index, languages, "lamp").hits == ()
        assert index.named("lamp") == []
        for product in index.products:
            assert index.similar(product, 5) == []


def test_a_huge_price_does_not_overflow(index: CatalogueIndex, languages: Languages) -> None:
    assert len(find(index, languages, "a book under 999999999999999", limit=40).hits) >= 5
    assert find(index, languages, "a book over 999999999999999").hits == ()


def test_names_are_found_in_any_case_and_with_a_typo(index: CatalogueIndex) -> None:
    assert [p.name for p in index.named("desk lamp HALO")] == ["Desk Lamp Halo"]
    assert [p.name for p in index.named("Desk Lampp Halo")] == ["Desk Lamp Halo"]
    assert index.named("Bicycle") == []


def test_names_in_a_text_come_in_its_order(index: CatalogueIndex) -> None:
    text = "I found Wall Clock Birch (36.40) and desk lamp halo."
    assert [p.name for p in index.mentioned(text)] == ["Wall Clock Birch", "Desk Lamp Halo"]


def test_what_is_alike_is_remembered_for_some_products_and_stays_the_same(
    languages: Languages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.retrieval.index._REMEMBERED", 2)
    index, fresh = index_of(seed_rows(), languages), index_of(seed_rows(), languages)
    for product in (*index.products[:5], *index.products[:5]):
        expected = [(hit.product.id, hit.score) for hit in fresh._similar(product, 7)]
        assert [(hit.product.id, hit.score) for hit in index.similar(product, 7)] == expected
        assert len(index.similar(product, 3)) <= 3
    assert len(index._alike) <= 2


def test_an_old_index_is_gone_as_soon_as_nobody_has_it(languages: Languages) -> None:
    index = index_of(seed_rows(), languages)
    assert find(index, languages, "headfones").products
    assert index.similar(index.products[0], 5)
    there = weakref.ref(index)
    gc.disable()  # it comes rarely, and an index of many products takes megabytes
    del index
    gc.enable()
    assert there() is None
