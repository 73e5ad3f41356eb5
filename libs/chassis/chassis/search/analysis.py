"""Text analysis: folding, splitting into words, and English stems."""

import re
import unicodedata
from functools import cache

import Stemmer  # type: ignore[import-not-found]  # PyStemmer has no types

from chassis.text_folding import fold_letters

MAX_WORD_LENGTH = 40
"""Characters of an indexed word; the rest of a longer word is ignored."""

_IRREGULAR_PLURALS = {
    "bookshelves": "bookshelf",
    "calves": "calf",
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "halves": "half",
    "knives": "knife",
    "leaves": "leaf",
    "loaves": "loaf",
    "men": "man",
    "mice": "mouse",
    "scarves": "scarf",
    "shelves": "shelf",
    "teeth": "tooth",
    "wives": "wife",
    "wolves": "wolf",
    "women": "woman",
}
"""Plurals of which Snowball's English stemmer does not find the singular."""

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})


def fold(text: str) -> str:
    """Fold case and accents, and use one kind of quotes. Spaces and punctuation stay."""
    return fold_letters(text.translate(_QUOTES))


def split(folded: str) -> list[str]:
    """Return the words of a folded text. Every character but letters, digits and marks ends a word.

    A word is at most MAX_WORD_LENGTH characters long.
    """
    if folded.isascii():
        words = _WORD.findall(folded)
    else:
        words = "".join(map(_word_part_or_space, folded)).split()
    return [word[:MAX_WORD_LENGTH] for word in words]


def stem(word: str) -> str:
    """Return the English stem of a folded word; "lamps" and "lamp" have the same stem.

    So have "knives" and "knife".
    """
    return str(_english().stemWord(_IRREGULAR_PLURALS.get(word, word)))


@cache
def stemmer(language: str) -> Stemmer.Stemmer:
    """Return the Snowball stemmer of a language, given its English name."""
    return Stemmer.Stemmer(language)


def _english() -> Stemmer.Stemmer:
    return stemmer("english")


@cache
def _word_part_or_space(char: str) -> str:
    # Combining vowel signs are not \w; without this, every Hindi or Thai word would be split.
    return char if char.isalnum() or unicodedata.category(char).startswith("M") else " "
