"""Language data from languages/*.json: phrases, shop vocabulary and reply templates."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any

from app.retrieval.text_normalisation import Vocabulary
from chassis.search.analysis import split, stemmer

LANGUAGES = {"en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian"}
ENGLISH = "en"
_MIN_PART = 3  # letters of the shorter half of a compound
_MIN_WORD = 3


@dataclass(frozen=True)
class Language:
    """One language. `phrases` are alternatives of a regular expression over folded text."""

    code: str
    data: Mapping[str, Any] = field(repr=False)

    @cached_property
    def function_words(self) -> frozenset[str]:
        return frozenset(self.data["function_words"].split())

    @cached_property
    def fillers(self) -> frozenset[str]:
        """Words about wanting and buying, which describe no product."""
        return frozenset(split(self.data["fillers"]))

    @cached_property
    def replies(self) -> Mapping[str, str]:
        replies: Mapping[str, str] = self.data["replies"]
        return replies

    @cached_property
    def intents(self) -> Mapping[str, re.Pattern[str]]:
        return {name: phrases(text) for name, text in self.data["intents"].items()}

    @cached_property
    def _glossary(self) -> Mapping[str, str]:
        stem = stemmer(LANGUAGES[self.code]).stemWord
        words: Mapping[str, str] = self.data.get("glossary", {})
        return {stem(word): english for word, english in words.items()} | dict(words)

    def in_english(self, word: str) -> list[str]:
        """Translate a word to English; return the word itself if the glossary lacks it."""
        known = self._lookup(word)
        if known is not None:
            return known.split()
        for cut in range(len(word) - _MIN_PART, _MIN_PART - 1, -1):
            first, last = self._lookup(word[:cut].rstrip("s")), self._lookup(word[cut:])
            if first is not None and last is not None:  # Schreibtischlampe, Kaffeetasse
                return [*first.split(), *last.split()]
        return [word]

    def weight(self, word: str) -> int:
        """Return the word's weight in language detection; 0 if English has the same word."""
        if word in self.function_words:
            return 2
        known = self._lookup(word)
        return 1 if word in self.fillers or known not in (None, word) else 0

    def _lookup(self, word: str) -> str | None:
        if len(word) < _MIN_WORD and word not in self._glossary:
            return None
        stem = stemmer(LANGUAGES[self.code]).stemWord
        return self._glossary.get(word) or self._glossary.get(stem(word))


@dataclass(frozen=True)
class Languages:
    """All languages, and the related words, which exist in English only."""

    by_code: Mapping[str, Language]
    vocabulary: Vocabulary
    hints: Mapping[str, frozenset[str]]
    shop_words: frozenset[str]
    modifiers: frozenset[str]
    generic: frozenset[str]

    def detect(self, words: Iterable[str], otherwise: str = ENGLISH) -> str:
        """Return the language with most of the words; a tie goes to `otherwise`, then to English.

        Function words count double, because languages do not borrow them.
        """
        counted = list(words)[:60]
        votes = {
            code: sum(language.weight(word) for word in counted)
            for code, language in self.by_code.items()
        }
        votes[ENGLISH] += sum(word in self.shop_words for word in counted)
        best = max(votes.values())
        leaders = [code for code, count in votes.items() if count == best]
        if best == 0 or otherwise in leaders:
            return otherwise
        return leaders[0]


def phrases(alternatives: str) -> re.Pattern[str]:
    """Compile a pattern that finds any of `a|b|c` as whole words."""
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)")


def load_languages() -> Languages:
    """Read languages/*.json."""
    folder = resources.files("app.retrieval").joinpath("languages")
    data = {
        code: json.loads(folder.joinpath(f"{code}.json").read_text(encoding="utf-8"))
        for code in LANGUAGES
    }
    english = data[ENGLISH]
    ignored = split(english["function_words"])
    vocabulary = Vocabulary(english["same"], english["broader"], ignored)
    hints: dict[str, frozenset[str]] = {}
    for terms, words in english["hints"].items():
        targets = {vocabulary.term(term) for term in terms.split()}
        for word in split(words):
            key = vocabulary.term(word)
            hints[key] = hints.get(key, frozenset()) | targets
    return Languages(
        by_code={code: Language(code, content) for code, content in data.items()},
        vocabulary=vocabulary,
        hints=hints,
        shop_words=_shop_words(english),
        modifiers=frozenset(map(vocabulary.term, english["modifiers"].split())),
        generic=frozenset(map(vocabulary.term, english["generic"].split())),
    )


def _shop_words(english: Mapping[str, Any]) -> frozenset[str]:
    """Return the English words of the tables, which count for English: `pan` is also Spanish."""
    related = (english["same"], english["broader"], english["hints"])
    texts = [text for table in related for pair in table.items() for text in pair]
    return frozenset(split(" ".join([*texts, english["modifiers"]])))
