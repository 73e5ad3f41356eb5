"""Parse a customer's message into keywords, exclusions, a price range and a sort order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from app.retrieval.language import ENGLISH, Language, Languages, phrases
from app.retrieval.prices import PriceRange, PriceReader
from chassis.search.analysis import fold, split

_MAX_TEXT = 2_000
_MAX_TERMS = 40
_MAX_PARTS = 6
_MAX_LIST_TEXT = 300  # characters; longer texts are rarely lists, and each part is parsed again
_SPAN = 3  # words that a negation applies to
_CLAUSE = re.compile(r"[.,;:!?()\n]")

Order = Literal["best", "cheapest", "dearest"]


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A parsed message.

    Attributes:
        keywords: words that may describe a product, translated to English where possible.
        exclusions: groups of words; a product that has all words of a group is excluded.
        refers_back: the message refers to earlier products ("a cheaper one").
        cheaper: the message asks for a lower price than before.
        parts: one query for each item of a list ("a lamp under 30 and headphones"); empty if the
            message is not a list.
    """

    text: str
    language: str = ENGLISH
    intents: frozenset[str] = frozenset()
    keywords: tuple[str, ...] = ()
    exclusions: tuple[tuple[str, ...], ...] = ()
    price: PriceRange = field(default_factory=PriceRange)
    order: Order = "best"
    refers_back: bool = False
    cheaper: bool = False
    parts: tuple["ParsedQuery", ...] = ()

    @property
    def about_products(self) -> bool:
        return bool(self.keywords or self.price or self.order != "best")

    def after(self, earlier: "ParsedQuery") -> "ParsedQuery":
        """Return this query with the earlier one's keywords, and its price if this has none."""
        return replace(
            self,
            keywords=earlier.keywords + self.keywords,
            exclusions=earlier.exclusions + self.exclusions,
            price=self.price or earlier.price,
            parts=(),
        )

    def below(self, price: Decimal) -> "ParsedQuery":
        """Return this query with an upper bound just below `price`."""
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


class QueryParser:
    """Parse messages. Built once, does no I/O."""

    def __init__(self, languages: Languages) -> None:
        self._languages = languages
        english = languages.by_code[ENGLISH]
        self._grammars = {
            code: _grammar(language, english) for code, language in languages.by_code.items()
        }
        self._english = english

    def parse(self, text: str, language: str | None = None) -> ParsedQuery:
        """Parse one message.

        Args:
            language: language of the conversation, used if the message alone does not show it.
        """
        folded = fold(text[:_MAX_TEXT])
        code = self._languages.detect(split(folded), language or ENGLISH)
        grammar = self._grammars[code]
        query = self._parse_one(text, folded, grammar)
        return replace(query, parts=self._parts(query, folded, grammar))

    def _parts(self, whole: ParsedQuery, folded: str, grammar: _Grammar) -> tuple[ParsedQuery, ...]:
        """Return one query for each item of a list.

        A piece without a keyword ("a lamp over 20 and under 60") belongs to the previous item. A
        price after the last item applies to all items, unless an earlier item has its own price.
        """
        if not whole.keywords or len(folded) > _MAX_LIST_TEXT:
            return ()
        text = grammar.prices.without_joins(folded)
        if whole.exclusions:
            _, text = self._negations(grammar, text)
        pieces: list[str] = []
        for piece in grammar.separator.split(text):
            if self._parse_one(piece, piece, grammar).keywords or not pieces:
                pieces.append(piece)
            else:
                pieces[-1] += f" {piece}"
        parts = [self._parse_one(piece, piece, grammar) for piece in pieces[:_MAX_PARTS]]
        if len(parts) < 2:
            return ()
        if not any(part.price for part in parts[:-1]):
            parts = [replace(part, price=parts[-1].price) for part in parts]
        return tuple(replace(p, order=whole.order, exclusions=whole.exclusions) for p in parts)

    def _parse_one(self, text: str, folded: str, grammar: _Grammar) -> ParsedQuery:
        price, rest = grammar.prices.read(folded)
        order, rest = self._order(grammar, rest)
        exclusions, rest = self._negations(grammar, rest)
        for pattern in grammar.language.intents.values():
            rest = pattern.sub(" ", rest)
        return ParsedQuery(
            text=text,
            language=grammar.language.code,
            intents=self._intents(grammar.language, folded),
            keywords=tuple(self._words(grammar.language, rest)),
            exclusions=tuple(exclusions),
            price=price,
            order=order,
            refers_back=bool(grammar.back.search(folded)),
            cheaper=bool(grammar.cheaper.search(folded)),
        )

    def parse_conversation(self, message: str, earlier: Sequence[str]) -> ParsedQuery:
        """Parse a message that follows earlier messages of the same customer, oldest first.

        A message without a product ("and under 30?", "a cheaper one") takes the keywords of the
        last message that had some.
        """
        language: str | None = None
        topic: ParsedQuery | None = None
        for text in earlier:
            query = self.parse(text, language)
            language = query.language
            if query.keywords:
                topic = query
        query = self.parse(message, language)
        if topic is None or query.keywords or query.intents - {"delivery"}:
            return query
        if query.about_products or query.refers_back or query.exclusions:
            return query.after(topic)
        return query

    def _order(self, grammar: _Grammar, text: str) -> tuple[Order, str]:
        if match := grammar.cheapest.search(text):
            return "cheapest", text.replace(match[0], " ")
        if match := grammar.dearest.search(text):
            return "dearest", text.replace(match[0], " ")
        if match := grammar.cheap.search(text):
            return "cheapest", text.replace(match[0], " ")
        return "best", text

    def _negations(self, grammar: _Grammar, text: str) -> tuple[list[tuple[str, ...]], str]:
        """Return the groups of words after each negation, and the text without them."""
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
        return [word for word in found if not self._is_stop_word(word)][:_MAX_TERMS]

    def _is_filler(self, language: Language, word: str) -> bool:
        return word in language.function_words or word in language.fillers or word.isdigit()

    def _is_stop_word(self, word: str) -> bool:
        return self._is_filler(self._english, word) or len(word) == 1
