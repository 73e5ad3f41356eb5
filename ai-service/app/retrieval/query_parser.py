"""What somebody asks for, in terms of the catalogue."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from app.retrieval.language import ENGLISH, Language, Languages, phrases
from app.retrieval.prices import PriceRange, PriceReader
from app.retrieval.text_normalisation import fold, split

_MAX_TEXT = 2_000
_MAX_TERMS = 40
_MAX_PARTS = 6
_MAX_LIST_TEXT = 300  # characters; a longer text is a story, and each part costs a reading
_SPAN = 3  # words that a negation reaches over
_CLAUSE = re.compile(r"[.,;:!?()\n]")

Order = Literal["best", "cheapest", "dearest"]


@dataclass(frozen=True, slots=True)
class Wish:
    """One request, understood.

    Attributes:
        wanted: words of the request that may speak of a product, in English where known.
        unwanted: groups of words; a product that has all words of one group is not meant.
        refers_back: it speaks of what was said before ("a cheaper one").
        cheaper: it asks for less than what was said before.
        parts: one wish for each thing of a list ("a lamp under 30 and headphones"); empty for one
            thing.
    """

    text: str
    language: str = ENGLISH
    intents: frozenset[str] = frozenset()
    wanted: tuple[str, ...] = ()
    unwanted: tuple[tuple[str, ...], ...] = ()
    price: PriceRange = field(default_factory=PriceRange)
    order: Order = "best"
    refers_back: bool = False
    cheaper: bool = False
    parts: tuple["Wish", ...] = ()

    @property
    def about_products(self) -> bool:
        return bool(self.wanted or self.price or self.order != "best")

    def after(self, earlier: "Wish") -> "Wish":
        """This wish, completed by an earlier one: its words, and its price where none is named."""
        return replace(
            self,
            wanted=earlier.wanted + self.wanted,
            unwanted=earlier.unwanted + self.unwanted,
            price=self.price or earlier.price,
            parts=(),
        )

    def below(self, price: Decimal) -> "Wish":
        """This wish, for less than `price`."""
        return replace(self, price=PriceRange(self.price.low, price - Decimal("0.01")), parts=())


@dataclass(frozen=True)
class _Grammar:
    language: Language
    prices: PriceReader
    cheapest: re.Pattern[str]
    cheap: re.Pattern[str]
    dearest: re.Pattern[str]
    negation: re.Pattern[str]
    not_meant: re.Pattern[str]
    skipped: frozenset[str]
    joins: frozenset[str]
    ends: frozenset[str]
    back: re.Pattern[str]
    cheaper: re.Pattern[str]
    separator: re.Pattern[str]


def _grammar(language: Language, english: Language) -> _Grammar:
    data = language.data
    both = [data["price"], english.data["price"]][: 1 if language.code == ENGLISH else 2]

    def any_of(key: str) -> re.Pattern[str]:
        return phrases("|".join(part[key] for part in both))

    return _Grammar(
        language=language,
        prices=PriceReader(*both),
        cheapest=any_of("cheapest"),
        cheap=any_of("cheap"),
        dearest=any_of("dearest"),
        negation=phrases(data["not"]),
        not_meant=phrases(data["not_meant"]),
        skipped=frozenset(data["after_not"].split("|")),
        joins=frozenset(data["or"].split("|")),
        ends=frozenset(data["and"].split("|")),
        back=phrases(data["back"]),
        cheaper=phrases(data["cheaper_one"]),
        separator=re.compile(rf"[,;.!?&+]\s|\n|(?<!\w)(?:{data['list']})(?!\w)"),
    )


class Understanding:
    """Reads requests; built once, does no I/O."""

    def __init__(self, languages: Languages) -> None:
        self._languages = languages
        english = languages.by_code[ENGLISH]
        self._grammars = {
            code: _grammar(language, english) for code, language in languages.by_code.items()
        }
        self._english = english

    def read(self, text: str, language: str | None = None) -> Wish:
        """The wish in one message.

        Args:
            language: that of the conversation, for a message that does not tell.
        """
        folded = fold(text[:_MAX_TEXT])
        code = self._languages.detect(split(folded), language or ENGLISH)
        grammar = self._grammars[code]
        wish = self._read_one(text, folded, grammar)
        return replace(wish, parts=self._parts(wish, folded, grammar))

    def _parts(self, whole: Wish, folded: str, grammar: _Grammar) -> tuple[Wish, ...]:
        """Return one wish for each thing of a list.

        A piece that names nothing ("a lamp over 20 and under 60") belongs to the one before it. A
        price behind the last thing is meant for all, unless an earlier one has a price of its own.
        """
        if not whole.wanted or len(folded) > _MAX_LIST_TEXT:
            return ()
        text = grammar.prices.without_joins(folded)
        if whole.unwanted:
            _, text = self._negations(grammar, text)
        pieces: list[str] = []
        for piece in grammar.separator.split(text):
            if self._read_one(piece, piece, grammar).wanted or not pieces:
                pieces.append(piece)
            else:
                pieces[-1] += f" {piece}"
        parts = [self._read_one(piece, piece, grammar) for piece in pieces[:_MAX_PARTS]]
        if len(parts) < 2:
            return ()
        if not any(part.price for part in parts[:-1]):
            parts = [replace(part, price=parts[-1].price) for part in parts]
        return tuple(replace(p, order=whole.order, unwanted=whole.unwanted) for p in parts)

    def _read_one(self, text: str, folded: str, grammar: _Grammar) -> Wish:
        price, rest = grammar.prices.read(folded)
        order, rest = self._order(grammar, rest)
        unwanted, rest = self._negations(grammar, rest)
        for pattern in grammar.language.intents.values():
            rest = pattern.sub(" ", rest)
        return Wish(
            text=text,
            language=grammar.language.code,
            intents=self._intents(grammar.language, folded),
            wanted=tuple(self._words(grammar.language, rest)),
            unwanted=tuple(unwanted),
            price=price,
            order=order,
            refers_back=bool(grammar.back.search(folded)),
            cheaper=bool(grammar.cheaper.search(folded)),
        )

    def converse(self, message: str, earlier: Sequence[str]) -> Wish:
        """The wish in a message that follows others of the same person, oldest first.

        What a message leaves open ("and under 30?", "a cheaper one") comes from the last one that
        named a thing.
        """
        language: str | None = None
        topic: Wish | None = None
        for text in earlier:
            wish = self.read(text, language)
            language = wish.language
            if wish.wanted:
                topic = wish
        wish = self.read(message, language)
        if topic is None or wish.wanted or wish.intents - {"delivery"}:
            return wish
        if wish.about_products or wish.refers_back or wish.unwanted:
            return wish.after(topic)
        return wish

    def _order(self, grammar: _Grammar, text: str) -> tuple[Order, str]:
        if match := grammar.cheapest.search(text):
            return "cheapest", text.replace(match[0], " ")
        if match := grammar.dearest.search(text):
            return "dearest", text.replace(match[0], " ")
        if match := grammar.cheap.search(text):
            return "cheapest", text.replace(match[0], " ")
        return "best", text

    def _negations(self, grammar: _Grammar, text: str) -> tuple[list[tuple[str, ...]], str]:
        """The groups of words behind each "not", and the text without them."""
        groups: list[tuple[str, ...]] = []
        while match := grammar.negation.search(text):
            after = text[match.end() :]
            clause = _CLAUSE.split(after, maxsplit=1)[0]
            figure_of_speech = grammar.not_meant.match(clause.lstrip())
            if figure_of_speech is not None:
                used = len(clause) - len(clause.lstrip()) + figure_of_speech.end()
            else:
                taken, used = self._span(grammar, clause)
                groups += taken
            text = f"{text[: match.start()]} {after[used:]}"
        return groups, text

    def _span(self, grammar: _Grammar, clause: str) -> tuple[list[tuple[str, ...]], int]:
        groups: list[tuple[str, ...]] = []
        group: list[str] = []
        used = 0
        for match in re.finditer(r"[^\W_]+", clause):
            word = match[0]
            if word in grammar.joins:
                groups.append(tuple(group))
                group = []
            elif word in grammar.skipped and not group:
                pass
            elif word in grammar.ends or len(group) == _SPAN:
                break
            elif not self._is_filler(grammar.language, word):
                group += grammar.language.in_english(word)
            used = match.end()
        groups.append(tuple(group))
        return [each for each in groups if each], used

    def _intents(self, language: Language, folded: str) -> frozenset[str]:
        found = {name for name, pattern in language.intents.items() if pattern.search(folded)}
        return frozenset(found)

    def _words(self, language: Language, text: str) -> list[str]:
        found: dict[str, None] = {}
        for word in split(text):
            if not self._is_filler(language, word):
                found.update(dict.fromkeys(language.in_english(word)))
        return [word for word in found if not self._says_nothing(word)][:_MAX_TERMS]

    def _is_filler(self, language: Language, word: str) -> bool:
        return word in language.function_words or word in language.fillers or word.isdigit()

    def _says_nothing(self, word: str) -> bool:
        return self._is_filler(self._english, word) or len(word) == 1
