"""Check a model's answer sentence by sentence: keep, correct or drop each one.

The prompt tells the model to write `[P1]` for a product, and never a name or a price; this module
inserts both. Names and prices that the model writes anyway are checked: a name must be that of an
offered product, an amount must be its price or a limit from the question, and claims about
discounts, delivery or terms are dropped.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from app.retrieval.language import Languages
from app.retrieval.prices import AMOUNT, amount
from app.services.answer import money, one_line
from app.services.claim_patterns import (
    CLAIM,
    LIMIT,
    LINK,
    NO_LESS,
    NO_MORE,
    OFFER,
    OPENERS,
    SUBJECT_ENDS,
    is_money,
)
from app.services.sentences import plain
from chassis.search.analysis import fold, split

_TAG = re.compile(r"\[\s*[Pp](\d{1,3})\s*\]")
_TOKEN = re.compile(r"\x00(\d+)\x00")
_QUOTED = re.compile(r"\"([^\"]{2,80})\"|“([^”]{2,80})”|«([^»]{2,80})»|\*\*([^*]{2,80})\*\*")
_PRODUCT_CODE = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])[A-Z][\w-]{2,}\b")
_WORD_OR_SIGN = re.compile(r"[\w'&-]+|[^\w\s]")
_MAX_LENGTH = 1_500  # characters per reply


@dataclass(frozen=True, slots=True)
class Offer:
    """A product that the model may name; `[P1]` is replaced by `shown`."""

    name: str
    price: Decimal | None
    shown: str
    words: frozenset[str] = frozenset()


@dataclass
class Grounding:
    """Check one answer.

    Args:
        offers: `[P1]`, `[P2]`, ... in this order.
        question: the customer's message; its amounts may be repeated as limits.
        german: German nouns are capitalised, so a single capitalised word is not a name.
    """

    offers: Sequence[Offer]
    question: str
    languages: Languages
    allowed_names: Iterable[str] = ()
    german: bool = False
    named: list[int] = field(default_factory=list)
    _last_products: list[int] = field(default_factory=list)
    _length: int = 0

    def __post_init__(self) -> None:
        self._amounts = {amount(m[0]) for m in re.finditer(AMOUNT, fold(self.question))}
        words: set[str] = set()
        for offer in self.offers:
            words |= {*split(fold(offer.name)), *offer.words}
        words |= {word for name in self.allowed_names for word in split(fold(name))}
        term = self.languages.vocabulary.term
        self._known_words = words | {term(word) for word in words}
        by_length = sorted(enumerate(self.offers), key=lambda pair: -len(pair[1].name))
        self._name_patterns = [
            (number, re.compile(rf"(?<!\w){re.escape(one_line(offer.name))}(?!\w)", re.IGNORECASE))
            for number, offer in by_length
            if offer.name.strip()
        ]

    def check(self, sentence: str) -> str | None:
        """Return the corrected sentence, or None if it must be dropped."""
        marked = self._mark_products(plain(sentence))
        checked = self._check_claims(marked) if marked is not None else None
        if checked is None or self._length > _MAX_LENGTH:
            self._last_products = []
            return None
        for number in _numbers(checked):
            if number not in self.named:
                self.named.append(number)
        self._last_products = _numbers(checked) or self._last_products
        shown = _TOKEN.sub(lambda match: self.offers[int(match[1])].shown, checked)
        self._length += len(shown)
        return shown

    def _mark_products(self, text: str) -> str | None:
        """Replace each product by a token. Return None if a tag refers to no offer."""
        tags = [int(tag) for tag in _TAG.findall(text)]
        if any(not 1 <= tag <= len(self.offers) for tag in tags):
            return None
        marked = _TAG.sub(lambda match: f"\x00{int(match[1]) - 1}\x00", text.replace("\x00", ""))
        for number, pattern in self._name_patterns:
            marked = pattern.sub(f"\x00{number}\x00", marked)
        return marked

    def _check_claims(self, marked: str) -> str | None:
        bare = _TOKEN.sub(" ", marked)
        folded = fold(bare)
        if not bare.strip() and not _numbers(marked):
            return None
        if LINK.search(folded) or CLAIM.search(folded) or self._names_unknown_product(bare):
            return None
        if not _numbers(marked) and OFFER.search(folded) and not self._all_known(folded):
            return None
        return self._priced(marked)

    # -- prices

    def _priced(self, marked: str) -> str | None:
        """Correct the amounts of the text. Return None if an amount belongs to no product."""
        about = _numbers(marked) or self._last_products
        repaired, position = "", 0
        for match in re.finditer(AMOUNT, _TOKEN.sub(_blank, marked)):
            before = fold(_TOKEN.sub(" ", marked[: match.start()]))
            right = self._amount(match[0], before, about, _numbers(marked[: match.start()]))
            if right is None:
                return None
            repaired += marked[position : match.start()] + right
            position = match.end()
        return _remove_duplicate_prices(repaired + marked[position:], self.offers)

    def _amount(
        self, text: str, before: str, about: Sequence[int], preceding: Sequence[int]
    ) -> str | None:
        value = amount(text)
        if value in self._amounts and LIMIT.search(before):
            return text if self._limit_holds(value, before, about) else None
        if not is_money(text, before):
            return text if self._is_known_number(text) else None
        if not about:
            return None
        referenced = preceding[-1:] or (about[:1] if len(set(about)) == 1 else [])
        price = self.offers[referenced[0]].price if referenced else None
        if price is None:
            return None
        return text if price == value else money(price)

    def _limit_holds(self, limit: Decimal, before: str, about: Sequence[int]) -> bool:
        """Return True if "under 50" is true of the products that the sentence is about."""
        prices = [p for number in about if (p := self.offers[number].price) is not None]
        if NO_LESS.search(before):
            return all(price >= limit for price in prices)
        return not NO_MORE.search(before) or all(price <= limit for price in prices)

    def _is_known_number(self, text: str) -> bool:
        """Return True for a number of a product's description, or a single digit."""
        digits = re.sub(r"\D", "", text)
        return digits in self._known_words or len(digits) == 1

    # -- names

    def _names_unknown_product(self, bare: str) -> bool:
        """Return True if the text contains a name that belongs to no offer."""
        quoted = [part for match in _QUOTED.finditer(bare) for part in match.groups() if part]
        if any(not self._all_words_known(part) for part in quoted):
            return True
        if any(not self._all_words_known(code) for code in _PRODUCT_CODE.findall(bare)):
            return True
        return any(not self._all_words_known(name) for name in self._capitalised(bare))

    def _capitalised(self, bare: str) -> list[str]:
        """Return runs of capitalised words.

        The first word of a sentence is a name only if it is the subject ("Zephyr is ..."). In
        German, where all nouns are capitalised, a single word is no name.
        """
        words = _WORD_OR_SIGN.findall(bare.replace("\u2019", "'"))
        runs: list[list[str]] = []
        run: list[str] = []
        begins = True
        for word, following in zip(words, [*words[1:], ""], strict=True):
            is_name = word[0].isupper() and word != "I"
            if is_name and begins and not following[:1].isupper():
                is_name = fold(following) in SUBJECT_ENDS and not self._is_common_word(word)
            if is_name and self._is_common_word(word) and (begins or self.german):
                is_name = False
            if is_name or (run and word.isdigit()):
                run.append(word)
            else:
                runs.append(run)
                run = []
            begins = word in ":!?." or (begins and not word[0].isalnum())
        runs.append(run)
        return [" ".join(run) for run in runs if len(run) > (1 if self.german else 0)]

    def _is_common_word(self, word: str) -> bool:
        """Return True if the word is a common first word of a sentence or a stop word."""
        return all(piece in OPENERS or self._is_stop_word(piece) for piece in split(fold(word)))

    def _is_stop_word(self, word: str) -> bool:
        languages = self.languages.by_code.values()
        return any(word in each.function_words or word in each.fillers for each in languages)

    def _all_words_known(self, text: str) -> bool:
        """Return True if all words are from the offers or categories, or are function words."""
        return all(self._known_word(word) for word in split(fold(text)))

    def _known_word(self, word: str) -> bool:
        term = self.languages.vocabulary.term(word)
        if word in self._known_words or term in self._known_words:
            return True
        return any(word in each.function_words for each in self.languages.by_code.values())

    def _all_known(self, folded: str) -> bool:
        """Return True if a sentence that offers something has only known words and stop words."""
        rest = split(OFFER.sub(" ", folded))
        return all(self._known_word(word) or self._is_stop_word(word) for word in rest)


def _numbers(marked: str) -> list[int]:
    return [int(number) for number in _TOKEN.findall(marked)]


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _remove_duplicate_prices(marked: str, offers: Sequence[Offer]) -> str:
    """Remove the price in `[P1] (49.90)` if the token is already shown with its price."""

    def single(match: re.Match[str]) -> str:
        offer = offers[int(match[1])]
        is_doubled = offer.price is not None and money(offer.price) in offer.shown
        return f"\x00{match[1]}\x00" if is_doubled else match[0]

    repeated_price = re.compile(
        rf"\x00(\d+)\x00\s*(?:\(\s*{AMOUNT}\s*\)|(?:for|at|fur|pour|por|per|,)\s+{AMOUNT}(?=[\s.,;!]|$))"
    )
    return repeated_price.sub(single, marked)
