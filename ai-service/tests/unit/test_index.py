"""Search in the seed's catalogue."""

import gc
import weakref
from decimal import Decimal

import pytest

from app.retrieval.index import CatalogueIndex, SearchResult
from app.retrieval.language import Languages
from app.retrieval.prices import PriceRange
from app.retrieval.query_parser import ParsedQuery, QueryParser
from tests.samples import index_of, row, seed_rows


@pytest.fixture(scope="module")
def index(languages: Languages) -> CatalogueIndex:
    return index_of(seed_rows(), languages)


def find(index: CatalogueIndex, languages: Languages, text: str, limit: int = 8) -> SearchResult:
    return index.search(QueryParser(languages).parse(text), limit)


def names(found: SearchResult) -> list[str]:
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
def test_search_returns_best_match_first(
    index: CatalogueIndex, languages: Languages, text: str, best: str
) -> None:
    assert names(find(index, languages, text))[0] == best


def test_search_with_price_range_returns_only_prices_in_range(
    index: CatalogueIndex, languages: Languages
) -> None:
    found = find(index, languages, "something between 20 and 40", limit=40)
    assert len(found.hits) > 10
    assert all(20 <= product.price <= 40 for product in found.products)


BOUNDS = ["0", "9.99", "10", "10.001", "10.01", "19.995", "20", "100", "9999999999.99", "1e30"]


@pytest.mark.parametrize("low", [None, *BOUNDS])
@pytest.mark.parametrize("high", [None, *BOUNDS])
def test_price_bounds_are_inclusive_and_exact(
    languages: Languages, low: str | None, high: str | None
) -> None:
    """Expected values use Decimal, because a bound 10 percent below a price has partial cents."""
    prices = ["0.01", "9.99", "10", "10.01", "19.99", "20", "20.01", "100", "9999999999.99"]
    rows = [row(number, name="Lamp", price=Decimal(p)) for number, p in enumerate(prices)]
    index = index_of(rows, languages)
    requested = PriceRange(
        None if low is None else Decimal(low), None if high is None else Decimal(high)
    )
    found = index.search(ParsedQuery("lamp", keywords=("lamp",), price=requested), limit=20)
    expected = {price for price in map(Decimal, prices) if requested.allows(price)}
    assert {product.price for product in found.products} == expected


def test_search_without_match_in_price_range_returns_nearest_price(
    index: CatalogueIndex, languages: Languages
) -> None:
    found = find(index, languages, "a keyboard under 50")
    assert found.hits == ()
    assert found.nearest_price == Decimal("129.00")


def test_excluded_products_are_not_found(index: CatalogueIndex, languages: Languages) -> None:
    found = names(find(index, languages, "toys, but nothing made of wood", limit=40))
    assert "Magnetic Building Tiles, 60 Pieces" in found
    assert not {"Wooden Train Set, 42 Pieces", "Stacking Animals"} & set(found)


def test_colour_alone_does_not_match_missing_product(
    index: CatalogueIndex, languages: Languages
) -> None:
    """The head torch has a red light, but does not match "red bicycle"."""
    found = find(index, languages, "a red bicycle")
    assert (found.hits, found.unknown) == ((), ("bicycle",))


def test_product_with_same_colour_does_not_match_other_product(languages: Languages) -> None:
    index = index_of([row(1, name="Red scarf", tags=["red"])], languages)
    assert find(index, languages, "a red bicycle").hits == ()
    assert names(find(index, languages, "something red")) == ["Red scarf"]


def test_word_in_description_does_not_match_missing_product(
    index: CatalogueIndex, languages: Languages
) -> None:
    """Linen described as washed does not match "washing machine"."""
    assert find(index, languages, "washing machine").hits == ()


def test_sold_out_product_is_ranked_last(languages: Languages) -> None:
    rows = [row(1, name="Lamp One", stock_quantity=0), row(2, name="Lamp Two")]
    assert names(find(index_of(rows, languages), languages, "lamp")) == ["Lamp Two", "Lamp One"]


def test_search_of_empty_catalogue_returns_nothing(languages: Languages) -> None:
    for rows in ([], [row(1, name="...", category="", tags=[])]):
        index = index_of(rows, languages)
        assert find(index, languages, "lamp").hits == ()
        assert index.find_by_name("lamp") == []
        for product in index.products:
            assert index.similar(product, 5) == []


def test_search_with_huge_price_does_not_overflow(
    index: CatalogueIndex, languages: Languages
) -> None:
    assert len(find(index, languages, "a book under 999999999999999", limit=40).hits) >= 5
    assert find(index, languages, "a book over 999999999999999").hits == ()


def test_find_by_name_ignores_case_and_typos(index: CatalogueIndex) -> None:
    assert [p.name for p in index.find_by_name("desk lamp HALO")] == ["Desk Lamp Halo"]
    assert [p.name for p in index.find_by_name("Desk Lampp Halo")] == ["Desk Lamp Halo"]
    assert index.find_by_name("Bicycle") == []


def test_find_mentioned_returns_products_in_text_order(index: CatalogueIndex) -> None:
    text = "I found Wall Clock Birch (36.40) and desk lamp halo."
    assert [p.name for p in index.find_mentioned(text)] == ["Wall Clock Birch", "Desk Lamp Halo"]


def test_similar_products_cache_is_bounded_and_returns_same_result(
    languages: Languages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.retrieval.index._SIMILAR_CACHE_SIZE", 2)
    index, fresh = index_of(seed_rows(), languages), index_of(seed_rows(), languages)
    for product in (*index.products[:5], *index.products[:5]):
        expected = [(hit.product.id, hit.score) for hit in fresh._similar(product, 7)]
        assert [(hit.product.id, hit.score) for hit in index.similar(product, 7)] == expected
        assert len(index.similar(product, 3)) <= 3
    assert len(index._similar_cache) <= 2


def test_unreferenced_index_is_freed_without_garbage_collection(languages: Languages) -> None:
    index = index_of(seed_rows(), languages)
    assert find(index, languages, "headfones").products
    assert index.similar(index.products[0], 5)
    index_reference = weakref.ref(index)
    gc.disable()  # it comes rarely, and an index of many products takes megabytes
    del index
    gc.enable()
    assert index_reference() is None
