"""Text folding and ranking."""

from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from app.models.search import MAX_WORDS, SearchEntry, SearchQuery, fold, rank, whole_words


def entry(name: str, category: str = "other", *tags: str) -> SearchEntry:
    return SearchEntry(ObjectId(), fold(name), fold(category), tuple(map(fold, tags)))


def assert_ranked(text: str, *best_first: SearchEntry) -> None:
    expected = [one.id for one in best_first]
    query = SearchQuery.parse(text)
    assert rank(query, best_first) == expected
    assert rank(query, reversed(best_first)) == expected


def test_better_place_of_word_ranks_first() -> None:
    assert_ranked(
        "lamp",
        entry("Lamp"),
        entry("Lamp of brass and oak, very long a name"),
        entry("Lampshade"),
        entry("Desk lamp"),
        entry("Headlamp"),
        entry("Torch", "other", "lamp"),
        entry("Bulb", "lamps"),
        entry("Fuse", "other", "lamp parts"),
    )


def test_name_with_all_words_ranks_before_words_in_several_fields() -> None:
    assert_ranked(
        "red lamp",
        entry("Red lamp"),
        entry("Red lamp, small"),
        entry("Lamp, bright red"),
        entry("Lamp", "other", "red"),
        entry("Torch", "lamps", "red"),
    )


def test_more_matching_words_rank_before_better_place() -> None:
    assert_ranked(
        "red desk zeppelin", entry("Torch", "desks", "infrared"), entry("Red"), entry("Something")
    )


def test_tag_of_several_words_matches_as_tag() -> None:
    query = "noise cancelling"
    assert_ranked(
        query, entry("Buds", "x", "noise cancelling"), entry("Fan", "x", "noise", "cancelling fan")
    )


def test_equal_matches_are_ordered_by_shorter_name() -> None:
    assert_ranked("lamp", entry("Oak lamp"), entry("Desk lamp"), entry("Wall lamp"))


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
    assert whole_words("wi-fi (dual)") == {"wi-fi", "(dual)", "wi", "fi", "dual"}


def test_query_has_bounded_number_of_distinct_words() -> None:
    assert SearchQuery.parse(" Red,  red LAMP ").words == ("red", "lamp")
    assert SearchQuery.parse(", ;").words == (",", ";")
    assert len(SearchQuery.parse(" ".join(map(str, range(90)))).words) == MAX_WORDS
    assert SearchQuery.parse("\u0301").words == ()


TEXT: Any = st.text(alphabet="abAB é.*+\\", min_size=1, max_size=8)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=8), TEXT.filter(str.strip))
def test_rank_returns_each_entry_once(rows: list[tuple[str, str, str]], text: str) -> None:
    entries = [entry(*row) for row in rows]
    ranked = rank(SearchQuery.parse(text), entries)
    assert sorted(ranked) == sorted(one.id for one in entries)
