"""Fold text for comparison: without case, and without the accents of Latin, Greek and Cyrillic.

"Smørrebrød", its full-width form and "SMORREBROD" fold to the same text. In other scripts a mark
makes another letter (kana ハ and バ) or a vowel (Hebrew, Arabic, Thai, Devanagari): it stays.
"""

# ruff: noqa: RUF001  (letters that look like others are the subject)

import re
import unicodedata
from functools import cache

# Letters whose Unicode name does not give their plain form.
_SPECIAL = {
    "æ": "ae",
    "œ": "oe",
    "þ": "th",
    "ð": "d",
    "ı": "i",
    "ȷ": "j",
    "ŋ": "n",
    "ĸ": "k",
    "ə": "e",
    "\N{GREEK SMALL LETTER FINAL SIGMA}": "σ",
}
_WITH_STROKE = re.compile(r"LATIN SMALL LETTER ([A-Z]) (?:WITH |BAR$)")
_ACCENTED_SCRIPTS = ("LATIN ", "GREEK ", "CYRILLIC ")
_GENERAL_MARKS = ("\u0300", "\u036f")  # the block of accents that belong to no script


def fold_letters(text: str) -> str:
    """Return `text` without case and accents, in composed form (NFC).

    Ligatures, full-width, half-width and other compatibility forms become their plain letters.
    Spaces and punctuation stay. Folding a folded text changes nothing.
    """
    if text.isascii():
        return text.lower()
    # Twice: a compatibility form can have a case of its own, and a lower case letter a mark.
    for _ in range(2):
        bare = _without_accents("".join(map(_decompose, text)))
        text = "".join(map(_plain_letter, bare.casefold()))
    return unicodedata.normalize("NFC", _without_accents(text))


@cache
def _decompose(char: str) -> str:
    """Split a character into letters and marks."""
    decomposed = unicodedata.normalize("NFKD", char)
    # Thai and Lao AM and the Hangul letters are spelt with compatibility decompositions which
    # composition does not undo.
    is_spelling = unicodedata.decomposition(char).startswith("<compat>") and char.isalpha()
    if is_spelling and not any(map(_has_accents, decomposed)):
        return char
    return decomposed


@cache
def _has_accents(char: str) -> bool:
    """Return True for a letter of Latin, Greek or Cyrillic, whose marks are accents."""
    return unicodedata.name(char, "").startswith(_ACCENTED_SCRIPTS)


@cache
def _plain_letter(char: str) -> str:
    """Return ø as o: a letter with a stroke or hook has no decomposition in Unicode."""
    if char in _SPECIAL:
        return _SPECIAL[char]
    match = _WITH_STROKE.match(unicodedata.name(char, ""))
    return match[1].lower() if match else char


def _without_accents(text: str) -> str:
    kept: list[str] = []
    base = ""
    for char in unicodedata.normalize("NFD", text):
        if not unicodedata.combining(char):
            base = char
        elif _is_accent(char, base):
            continue
        kept.append(char)
    return "".join(kept)


def _is_accent(mark: str, base: str) -> bool:
    if base.isalpha():
        return _has_accents(base)
    first, last = _GENERAL_MARKS
    return first <= mark <= last
