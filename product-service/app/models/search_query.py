"""Queries: text analysis, filters and order."""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from chassis.search.analysis import MAX_WORD_LENGTH, split
from chassis.search.analysis import fold as fold_text

MAX_WORDS = 12

SearchOrder = Literal["relevance", "price", "-price", "name", "created_at", "-created_at"]


@lru_cache(maxsize=1_024)
def fold(text: str) -> str:
    """Fold case, accents and white space for comparison."""
    return " ".join(fold_text(text).split())


def words_of(folded: str) -> set[str]:
    """Return the words of a folded text; "wi-fi" gives "wi-fi", "wi" and "fi"."""
    return {*(word[:MAX_WORD_LENGTH] for word in folded.split()), *split(folded)}


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A folded query.

    Attributes:
        words: the distinct words, at most MAX_WORDS.
    """

    phrase: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "SearchQuery":
        phrase = fold(text)
        words = (word.strip(",;")[:MAX_WORD_LENGTH] or word for word in phrase.split())
        return cls(phrase, tuple(dict.fromkeys(words))[:MAX_WORDS])


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Conditions that every result meets. None means any."""

    category: str | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    in_stock: bool | None = None
