"""Words as the search compares them: folded, stemmed, and related words brought together."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

import Stemmer  # type: ignore[import-not-found]  # PyStemmer has no types

from chassis.text_folding import fold_letters

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})
_LONGEST = 40  # a longer word is no word of a shop


def fold(text: str) -> str:
    """Fold case and accents as product-service does, and use one kind of quotes."""
    return fold_letters(text.translate(_QUOTES))


def split(folded: str) -> list[str]:
    """The words of a folded text; an apostrophe ends a word."""
    if folded.isascii():
        words = _WORD.findall(folded)
    else:
        words = "".join(map(_word_part_or_space, folded)).split()
    return [word[:_LONGEST] for word in words]


@cache
def _word_part_or_space(char: str) -> str:
    # A vowel sign belongs to its word, but is no \w: in Hindi or Thai it would split every word.
    return char if char.isalnum() or unicodedata.category(char).startswith("M") else " "


class Vocabulary:
    """How a word of the catalogue or of a question becomes a term of the index.

    Args:
        same: term → other words for it; they become one term on both sides.
        broader: term → words that are a kind of it; a product that is of merino is of wool too.
        ignored: words that say nothing of a product.
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
        """The term for one folded word."""
        stem = str(self._stemmer.stemWord(word))
        return self._same.get(stem, stem)

    def terms_of(self, text: str) -> list[str]:
        """The terms of a text of the catalogue, broader ones included, in order."""
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
    """A Snowball stemmer by its language's English name."""
    return Stemmer.Stemmer(language)
