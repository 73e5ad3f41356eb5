"""Search without a text index: text folding and ranking. Pure functions.

The database only returns candidates (see MongoProductRepository). They are ranked here, so the
order is the same on every server with MongoDB's protocol.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from bson import ObjectId

from chassis.text_folding import fold_letters

MAX_WORDS = 12
FOLDING = 2
"""The version of `fold`. Increase it with each change, so that the folded texts of stored products
are recomputed (`refold` in product_repository.py)."""

_ALPHANUMERIC = re.compile(r"\w+")


class Place(IntEnum):
    """Place of a query word in a product, the best one last."""

    NOWHERE = 0
    TAG_PART = 1
    CATEGORY = 2
    TAG = 3
    NAME_PART = 4
    NAME_WORD = 5


class Tier(IntEnum):
    """Quality of a match, the best one first."""

    NAME_IS_QUERY = 0
    NAME_STARTS_WITH_QUERY = 1
    ALL_WORDS_IN_NAME = 2
    ALL_WORDS_SOMEWHERE = 3
    SOME_WORDS = 4


@lru_cache(maxsize=1_024)
def fold(text: str) -> str:
    """Fold case, accents and white space for comparison."""
    return " ".join(fold_letters(text).split())


def whole_words(folded: str) -> frozenset[str]:
    """Return the words of a folded text; "wi-fi" gives "wi-fi", "wi" and "fi"."""
    return frozenset(folded.split()) | frozenset(_ALPHANUMERIC.findall(folded))


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A folded query. Regular expression characters have no special meaning."""

    phrase: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "SearchQuery":
        phrase = fold(text)
        words = (word.strip(",;") or word for word in phrase.split())
        return cls(phrase, tuple(dict.fromkeys(words))[:MAX_WORDS])


@dataclass(frozen=True, slots=True)
class SearchEntry:
    """The folded search fields of one product."""

    id: ObjectId
    name: str
    category: str
    tags: tuple[str, ...]


def _place(word: str, entry: SearchEntry, name_words: frozenset[str]) -> Place:
    if word in name_words:
        return Place.NAME_WORD
    if word in entry.name:
        return Place.NAME_PART
    if word in entry.tags:
        return Place.TAG
    if word in entry.category:
        return Place.CATEGORY
    return Place.TAG_PART if any(word in tag for tag in entry.tags) else Place.NOWHERE


def _tier(query: SearchQuery, entry: SearchEntry, places: list[Place]) -> Tier:
    if entry.name == query.phrase:
        return Tier.NAME_IS_QUERY
    if entry.name.startswith(query.phrase):
        return Tier.NAME_STARTS_WITH_QUERY
    worst = min(places)
    if worst is Place.NAME_WORD:
        return Tier.ALL_WORDS_IN_NAME
    return Tier.SOME_WORDS if worst is Place.NOWHERE else Tier.ALL_WORDS_SOMEWHERE


def _sort_key(query: SearchQuery, entry: SearchEntry) -> tuple[int, int, int, int, str, ObjectId]:
    name_words = whole_words(entry.name)
    places = [_place(word, entry, name_words) for word in query.words]
    if query.phrase in entry.tags:  # the query equals a tag of several words
        places = [max(place, Place.TAG) for place in places]
    found = sum(place is not Place.NOWHERE for place in places)
    tier = _tier(query, entry, places)
    return tier, -found, -sum(places), len(entry.name), entry.name, entry.id


def rank(query: SearchQuery, entries: Iterable[SearchEntry]) -> list[ObjectId]:
    """Return the ids, best match first; equal matches by shorter name, name and id."""
    ordered = sorted(entries, key=lambda entry: _sort_key(query, entry))
    return [entry.id for entry in ordered]
