"""Normalise words for search: folding, stemming and synonyms."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

import Stemmer  # type: ignore[import-not-found]  # PyStemmer has no types

from chassis.text_folding import fold_letters

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})
_MAX_LENGTH = 40  # longer words are truncated


def fold(text: str) -> str:
    """Fold case and accents as product-service does, and use one kind of quotes."""
    return fold_letters(text.translate(_QUOTES))


def split(folded: str) -> list[str]:
    """Split a folded text into words; an apostrophe ends a word."""
    if folded.isascii():
        words = _WORD.findall(folded)
    else:
        words = "".join(map(_word_part_or_space, folded)).split()
    return [word[:_MAX_LENGTH] for word in words]


@cache
def _word_part_or_space(char: str) -> str:
    # Combining vowel signs are not \w; without this, every Hindi or Thai word would be split.
    return char if char.isalnum() or unicodedata.category(char).startswith("M") else " "


class Vocabulary:
    """Map words of products and queries to terms of the index.

    Args:
        same: term → its synonyms; all become the same term.
        broader: term → narrower words; a product of merino is also found as wool.
        ignored: stop words.
    """

    def __init__(
        self, same: Mapping[str, str], broader: Mapping[str, str], ignored: Iterable[str]
    ) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        stem = self._stemmer.stemWord
        self._same: dict[str, str] = {
            stem(word): stem(term) for term, words in same.items() for word in words.split()
        }
        self._broader = {
            self.term(word): self.term(term)
            for term, words in broader.items()
            for word in words.split()
        }
        self.ignored = frozenset(ignored)

    def term(self, word: str) -> str:
        """Return the term of one folded word."""
        stem = str(self._stemmer.stemWord(word))
        return self._same.get(stem, stem)

    def extract_terms(self, text: str) -> list[str]:
        """Return the terms of a product's text, including broader ones, in order."""
        found = []
        for word in split(fold(text)):
            if word in self.ignored:
                continue
            term = self.term(word)
            found.append(term)
            if (broader := self._broader.get(term)) is not None:
                found.append(broader)
        return found


@cache
def stemmer(language: str) -> Stemmer.Stemmer:
    """Return the Snowball stemmer of a language, given its English name."""
    return Stemmer.Stemmer(language)
