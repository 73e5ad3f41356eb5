"""The search index: matching, ranking, filters, suggestions and facets."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.page import PageRequest
from app.models.product import Product
from app.models.search_query import MAX_WORDS, SearchFilter, SearchQuery, fold, words_of
from app.search.index import Facets, SearchIndex

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def product(name: str, category: str = "other", *tags: str, **fields: Any) -> Product:
    defaults: dict[str, Any] = {
        "description": "",
        "price": Decimal(10),
        "stock_quantity": 1,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return Product(name=name, category=category, tags=list(tags), **(defaults | fields))


def index_of(*products: Product) -> SearchIndex:
    index = SearchIndex()
    for one in products:
        index.put(one)
    return index


def found(index: SearchIndex, text: str, **options: Any) -> list[Any]:
    return index.search(SearchQuery.parse(text), **options).product_ids


def counted(index: SearchIndex, chosen: SearchFilter) -> int:
    return index.page(PageRequest(chosen)).total


def assert_ranked(text: str, *best_first: Product) -> None:
    expected = [one.id for one in best_first]
    assert found(index_of(*best_first), text) == expected
    assert found(index_of(*reversed(best_first)), text) == expected


def test_better_place_of_word_ranks_first() -> None:
    assert_ranked(
        "lamp",
        product("Lamp"),
        product("Lamp of brass and oak, very long a name"),
        product("Desk lamp"),
        product("Torch", "other", "lamp"),
        product("Lampshade"),
        product("Headlamp"),
        product("Bulb", "lamps"),
        product("Fuse", "other", "lamp parts"),
        product("Mount", description="For every lamp."),
    )


def test_suggestion_that_begins_with_the_text_is_first() -> None:
    lamp, candle = product("Watering can, a long name"), product("Candle")
    assert [one.product_id for one in index_of(lamp, candle).suggest("can")] == [
        candle.id,
        lamp.id,
    ]


def test_punctuation_alone_is_not_a_part_of_a_word() -> None:
    index = index_of(product("Chef's wi-fi & more"))
    for text in ("'", "-", "--"):
        assert found(index, text) == [], text
    assert len(found(index, "&")) == 1


def test_name_with_all_words_ranks_before_words_in_several_fields() -> None:
    assert_ranked(
        "red lamp",
        product("Red lamp"),
        product("Red lamp, small"),
        product("Lamp, bright red"),
        product("Lamp", "other", "red"),
        product("Torch", "lamps", "red"),
    )


def test_products_with_some_words_are_found_only_if_none_has_all() -> None:
    both, lamp, desk = product("Desk lamp"), product("Lamp"), product("Desk")
    assert found(index_of(both, lamp, desk), "desk lamp") == [both.id]
    assert found(index_of(lamp, desk), "desk lamp") == [desk.id, lamp.id]


def test_filter_does_not_add_products_with_some_words() -> None:
    index = index_of(product("Desk lamp", "home"), product("Lamp", "garden"))
    assert found(index, "desk lamp", chosen=SearchFilter(category="garden")) == []


def test_more_matching_words_rank_before_better_place() -> None:
    assert_ranked(
        "red desk zeppelin",
        product("Torch", "desks", "infrared"),
        product("Red"),
    )


def test_rarer_word_ranks_first_if_no_product_has_all() -> None:
    shelf, speaker = product("Arbor oak bookshelf, wide"), product("Oak speaker Orsay")
    others = [product(f"Orsay {number}") for number in range(3)]
    assert found(index_of(speaker, shelf, *others), "orsay oak bookshelf")[:2] == [
        shelf.id,
        speaker.id,
    ]


def test_tag_of_several_words_matches_as_tag() -> None:
    assert_ranked(
        "noise cancelling",
        product("Buds", "x", "noise cancelling"),
        product("Fan", "x", "noise", "cancelling fan"),
    )


def test_equal_matches_are_ordered_by_shorter_name_and_name() -> None:
    assert_ranked("lamp", product("Oak lamp"), product("Desk lamp"), product("Wall lamp"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("headphnes", "Headphones"),  # a missing letter
        ("hedphonse", "Headphones"),  # two errors
        ("lmap", "Lamp"),  # swapped letters
        ("kettel", "Kettle"),
        ("λαμπτηρασ", "Λαμπτήρας"),
        ("чйаник", "Чайник"),
        ("walnut lmap", "Walnut lamp"),
    ],
)
def test_spelling_error_finds_the_word(text: str, name: str) -> None:
    wanted = product(name)
    assert found(index_of(wanted, product("Sofa"), product("Book")), text) == [wanted.id]


@pytest.mark.parametrize("text", ["lxxp", "cup", "hxxxphones", "zeppelin"])
def test_too_many_spelling_errors_find_nothing(text: str) -> None:
    assert found(index_of(product("Lamp"), product("Cap"), product("Headphones")), text) == []


def test_spelling_is_not_corrected_if_the_catalogue_has_the_word() -> None:
    house, mouse = product("House"), product("Mouse")
    assert found(index_of(house, mouse), "mouse") == [mouse.id]


@pytest.mark.parametrize(
    ("text", "name"), [("lamps", "Lamp"), ("lamp", "Lamps"), ("knives", "Knife"), ("box", "Boxes")]
)
def test_singular_and_plural_find_each_other(text: str, name: str) -> None:
    wanted = product(name)
    assert found(index_of(wanted, product("Sofa")), text) == [wanted.id]


def test_words_with_punctuation() -> None:
    cable, language = product("Wi-Fi (dual) cable"), product("C++ in 21 days")
    index = index_of(cable, language)
    for text in ("wi-fi", "fi", "(dual)", "dual"):
        assert found(index, text) == [cable.id], text
    assert found(index, "c++") == [language.id]
    assert found(index, ".*") == []


def test_filters_and_orders() -> None:
    old = product("Lamp A", "home", price=Decimal("9.99"), created_at=NOON)
    new = product("Lamp B", "Home", price=Decimal(20), created_at=NOON + timedelta(seconds=1))
    out = product("Lamp C", "Garden", price=Decimal("9.98"), stock_quantity=0, created_at=NOON)
    index = index_of(old, new, out)
    assert found(index, "lamp", chosen=SearchFilter(category="HOME")) == [old.id, new.id]
    assert found(index, "lamp", chosen=SearchFilter(category="nowhere")) == []
    assert found(index, "lamp", chosen=SearchFilter(min_price=Decimal("9.99"))) == [old.id, new.id]
    assert found(index, "lamp", chosen=SearchFilter(max_price=Decimal("9.98"))) == [out.id]
    assert found(index, "lamp", chosen=SearchFilter(in_stock=False)) == [out.id]
    assert found(index, "lamp", order="price") == [out.id, old.id, new.id]
    assert found(index, "lamp", order="-price") == [new.id, old.id, out.id]
    assert found(index, "lamp", order="-created_at")[0] == new.id
    assert found(index, "lamp", order="name") == [old.id, new.id, out.id]
    assert counted(index, SearchFilter(category="home", max_price=Decimal(10))) == 1


@pytest.mark.parametrize("order", ["relevance", "price", "-price", "name", "created_at"])
def test_pages_together_are_the_whole_result(order: Any) -> None:
    pick = random.Random(1)
    names = ("Lamp", "Lamps", "Desk lamp", "Lampshade")
    index = index_of(
        *(product(pick.choice(names), price=Decimal(pick.randint(1, 3))) for _ in range(60))
    )
    whole = found(index, "lamp", order=order, limit=100)
    assert len(whole) == len(set(whole)) == 60
    pages = [found(index, "lamp", order=order, offset=at, limit=7) for at in range(0, 70, 7)]
    assert [one for page in pages for one in page] == whole
    assert index.search(SearchQuery.parse("lamp"), limit=7).total == 60


def test_suggestions_complete_the_last_word() -> None:
    index = index_of(
        product("Walnut desk lamp", "Lamps"),
        product("Lamp", "Lamps"),
        product("Lamp", "Lamps"),
        product("Kettle", "Kitchen"),
    )

    def texts(text: str) -> list[tuple[str, str]]:
        return [(one.kind, one.text) for one in index.suggest(text)]

    assert texts("la") == [
        ("category", "Lamps"),
        ("product", "Lamp"),
        ("product", "Walnut desk lamp"),
    ]
    assert texts("wal la") == [("product", "Walnut desk lamp")]
    assert texts("kettl") == texts("ketl") == texts("kettle") == [("product", "Kettle")]
    assert texts("zzz") == texts("\u0301") == []


def test_suggestions_are_at_most_ten() -> None:
    index = index_of(*(product(f"Lamp {number}", f"Lamps {number}") for number in range(30)))
    suggestions = index.suggest("lamp")
    assert [one.kind for one in suggestions] == ["category"] * 3 + ["product"] * 7


def test_facets_count_the_results() -> None:
    index = index_of(
        product("Lamp", "Home", "oak", "warm", price=Decimal("9.99")),
        product("Lamp", "Home", "oak", price=Decimal(10), stock_quantity=0),
        product("Lamp", "Garden", price=Decimal(5_000)),
        product("Sofa", "Home", "oak", price=Decimal(300)),
    )

    def counts(facets: Facets) -> dict[str, Any]:
        return {
            "total": facets.total,
            "categories": {one.value: one.count for one in facets.categories},
            "prices": {(one.from_price, one.below_price): one.count for one in facets.prices},
            "tags": {one.value: one.count for one in facets.tags},
            "stock": (facets.in_stock, facets.sold_out),
        }

    lamps = SearchQuery.parse("lamp")
    assert counts(index.facets(lamps, SearchFilter())) == {
        "total": 3,
        "categories": {"Home": 2, "Garden": 1},
        "prices": {(0, 10): 1, (10, 25): 1, (1_000, None): 1},
        "tags": {"oak": 2, "warm": 1},
        "stock": (2, 1),
    }
    assert counts(index.facets(None, SearchFilter(category="home", max_price=Decimal(10)))) == {
        "total": 2,
        "categories": {"Home": 2},
        "prices": {(0, 10): 1, (10, 25): 1, (250, 500): 1},
        "tags": {"oak": 2, "warm": 1},
        "stock": (1, 1),
    }
    assert index.facets(SearchQuery.parse("zeppelin"), SearchFilter()).total == 0
    assert SearchIndex().facets(None, SearchFilter()).total == 0


def test_edit_replaces_and_outdated_revision_is_ignored() -> None:
    lamp = product("Lamp", "Home", "oak")
    index = index_of(lamp)
    edited = lamp.edited({"name": "Torch", "category": "Garden", "tags": []}, NOON)
    index.put(edited)
    index.put(lamp)
    assert found(index, "torch") == [lamp.id]
    assert found(index, "lamp") == found(index, "oak") == []
    assert (len(index), index.revision(lamp.id)) == (1, 2)
    assert counted(index, SearchFilter(category="home")) == 0
    index.remove(lamp.id)
    index.remove(lamp.id)
    assert found(index, "torch") == []
    assert len(index) == counted(index, SearchFilter()) == index.revision(lamp.id) == 0


WORDS = ["lamp", "lamps", "Lampe", "desk", "Smørbrød", "red", "re", "wi-fi", "バス", "C++", "(2nd)"]


@pytest.mark.parametrize("seed", range(5))
def test_updated_index_answers_like_a_new_one(seed: int) -> None:
    """Slots are used again, so a posting that stays behind would find a wrong product."""
    pick = random.Random(seed)
    living: dict[Any, Product] = {}
    index = SearchIndex()

    def fields() -> dict[str, Any]:
        return {
            "name": " ".join(pick.choices(WORDS, k=pick.randint(1, 3))),
            "description": " ".join(pick.choices(WORDS, k=pick.randint(0, 4))),
            "category": pick.choice(WORDS),
            "tags": pick.sample(WORDS, k=pick.randint(0, 4)),
            "price": Decimal(pick.randint(1, 5)),
            "stock_quantity": pick.randint(0, 1),
        }

    for _ in range(400):
        action = pick.random()
        if action < 0.5 or not living:
            values = fields()
            one = product(values.pop("name"), values.pop("category"), *values.pop("tags"), **values)
        elif action < 0.8:
            old = living[pick.choice(list(living))]
            one = replace(old, **fields(), revision=old.revision + 1)
        else:
            index.remove(living.popitem()[0])
            continue
        living[one.id] = one
        index.put(one)
    fresh = index_of(*living.values())
    assert len(index) == len(fresh) == len(living)
    texts = [*WORDS, *(" ".join(pick.sample(WORDS, k=2)) for _ in range(20)), "lmap", "dekss", "r"]
    for text in texts:
        query = SearchQuery.parse(text)
        chosen = SearchFilter(
            category=pick.choice([None, "red"]), in_stock=pick.choice([None, True])
        )
        for order in ("relevance", "name", "price", "-price"):
            page = index.search(query, chosen, order, limit=500)
            assert page == fresh.search(query, chosen, order, limit=500), text
        assert index.facets(query, chosen).total == page.total
        assert {one.text for one in index.suggest(text)} == {
            one.text for one in fresh.suggest(text)
        }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LAMP", "lamp"),
        ("Café", "CAFE"),
        ("Straße", "STRASSE"),
        ("Œuvre", "œuvre"),
        ("ΣΊΣΥΦΟΣ", "σισυφος"),
        ("ﬁne", "fine"),
        ("a\u00a0b \t c", "A B C"),
        ("\U0001d400", "a"),
        ("Smørrebrød", "smorrebrod"),
        ("Łódź", "LODZ"),
        ("İSTANBUL", "istanbul"),
        ("ﾊﾞｽ", "バス"),
        ("children\u2019s", "children's"),
    ],
)
def test_fold_ignores_case_accents_and_kind_of_space(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("バス", "ハス"), ("한", "하"), ("קָמץ", "קמץ")])
def test_fold_keeps_marks_of_other_scripts(one: str, other: str) -> None:
    assert fold(one) != fold(other)
    assert not fold(one).startswith(fold(other))


@given(st.text(max_size=60))
def test_fold_is_idempotent(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert "\n" not in fold(text)


def test_hyphenated_word_gives_word_and_its_parts() -> None:
    assert words_of("wi-fi (dual)") == {"wi-fi", "(dual)", "wi", "fi", "dual"}


def test_query_has_bounded_number_of_distinct_words() -> None:
    assert SearchQuery.parse(" Red,  red LAMP ").words == ("red", "lamp")
    assert SearchQuery.parse(", ;").words == (",", ";")
    assert len(SearchQuery.parse(" ".join(map(str, range(90)))).words) == MAX_WORDS
    assert SearchQuery.parse("\u0301").words == ()


@given(st.text(max_size=80))
def test_any_query_gets_an_answer(text: str) -> None:
    index = index_of(product("Desk lamp", "home", "oak"))
    query = SearchQuery.parse(text)
    assert index.search(query).total <= 1
    assert index.facets(query, SearchFilter()).total <= 1
    assert len(index.suggest(text)) <= 2
