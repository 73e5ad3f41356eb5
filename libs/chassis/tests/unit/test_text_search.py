"""Text analysis, vocabulary and inverted index."""

import random
from collections.abc import Collection

import pytest

from chassis.search.analysis import MAX_WORD_LENGTH, fold, split, stem
from chassis.search.inverted_index import InvertedIndex
from chassis.search.vocabulary import MAX_EXPANSIONS, Vocabulary, allowed_edits

WORDS = ["lamp", "lamps", "lampshade", "headlamp", "desk", "kettle", "headphones", "mouse", "house"]


def vocabulary(words: Collection[str] = WORDS) -> Vocabulary:
    made = Vocabulary()
    for word in words:
        made.add(word)
    return made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("desk lamp", ["desk", "lamp"]),
        ("wi-fi (2nd)", ["wi", "fi", "2nd"]),
        ("children's", ["children", "s"]),
        ("बिजली की केतली", ["बिजली", "की", "केतली"]),
        ("x" * 50, ["x" * MAX_WORD_LENGTH]),
        ("", []),
    ],
)
def test_split_returns_words(text: str, words: list[str]) -> None:
    assert split(fold(text)) == words


@pytest.mark.parametrize(
    ("one", "other"),
    [("LAMP", "lamp"), ("Ärmel", "armel"), ("Λάμπα", "λαμπα"), ("Й", "и"), ("it\u2019s", "it's")],
)
def test_fold_ignores_case_accents_and_kind_of_quote(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_stem_is_the_same_for_singular_and_plural() -> None:
    assert stem("lamps") == stem("lamp")
    assert stem("berries") == stem("berry")
    assert stem("λαμπα") == "λαμπα"


def test_words_are_found_by_prefix_part_and_stem() -> None:
    words = vocabulary()
    assert words.starting_with("lamp") == ["lamp", "lamps", "lampshade"]
    assert words.containing("lamp") == ["lamp", "lamps", "lampshade", "headlamp"]
    assert words.with_stem("lamp") == ["lamp", "lamps"]
    assert words.starting_with("zz") == words.containing("zz") == words.with_stem("zz") == []
    assert words.containing("p\nl") == []


def test_expansions_are_bounded() -> None:
    words = vocabulary([f"word{number}" for number in range(2 * MAX_EXPANSIONS)])
    assert len(words.starting_with("w")) == len(words.containing("o")) == MAX_EXPANSIONS


def test_longer_words_may_have_more_spelling_errors() -> None:
    assert [allowed_edits("x" * length) for length in (3, 4, 7, 8, 40)] == [0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("lmap", {"lamp"}),
        ("kettl", {"kettle"}),
        ("ketttle", {"kettle"}),
        ("hedphonse", {"headphones"}),
        ("mouze", {"mouse"}),
        ("douse", {"house", "mouse"}),
        ("desj", {"desk"}),
        ("des", set()),
        ("zeppelin", set()),
    ],
)
def test_similar_words_have_the_fewest_errors(word: str, expected: set[str]) -> None:
    assert set(vocabulary().similar(word)) == expected


def test_beginning_of_word_is_compared_while_typing() -> None:
    assert set(vocabulary().similar("haedph", prefix=True)) == {"headphones"}
    assert vocabulary().similar("haedph") == ()


def test_removed_word_is_not_found_and_added_word_is() -> None:
    words = vocabulary()
    assert words.similar("ketle") == ("kettle",)
    words.remove("kettle")
    assert words.similar("ketle") == ()
    assert words.starting_with("kett") == words.with_stem("kettle") == []
    words.add("kettles")
    assert words.similar("ketles") == ("kettles",)
    assert (len(words), "kettles" in words, "kettle" in words) == (len(WORDS), True, False)


@pytest.mark.parametrize("seed", range(3))
def test_index_after_random_changes_equals_plain_sets(seed: int) -> None:
    pick = random.Random(seed)
    index, documents = InvertedIndex(2), dict[int, list[set[str]]]()
    for _ in range(500):
        slot = pick.randrange(30)
        if slot in documents:
            index.remove(slot)
            del documents[slot]
        else:
            documents[slot] = [set(pick.sample(WORDS, k=pick.randint(0, 4))) for _ in range(2)]
            index.add(slot, documents[slot])
        if pick.random() < 0.1:
            for field in range(2):
                for word in WORDS:
                    slots = index.slots(field, word).tolist()
                    expected = {one for one in documents if word in documents[one][field]}
                    assert len(slots) == len(set(slots))
                    assert set(slots) == expected
            known = {word for fields in documents.values() for words in fields for word in words}
            assert set(index.vocabulary) == known
    assert len(index) == len(documents)
