"""What a model wrote, sentence by sentence: kept, put right, or left out.

The model is asked to write `[P1]` where it means a product, and never a name or a price; both are
filled in here. What it writes all the same is checked: a name must be one that it was given, an
amount must be that product's price or the asker's own limit, a promise must not be made.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from app.retrieval.language import Languages
from app.retrieval.prices import AMOUNT, amount
from app.retrieval.text_normalisation import fold, split
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

_TAG = re.compile(r"\[\s*[Pp](\d{1,3})\s*\]")
_TOKEN = re.compile(r"\x00(\d+)\x00")
_QUOTED = re.compile(r"\"([^\"]{2,80})\"|“([^”]{2,80})”|«([^»]{2,80})»|\*\*([^*]{2,80})\*\*")
_PRODUCT_CODE = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])[A-Z][\w-]{2,}\b")
_WORD_OR_SIGN = re.compile(r"[\w'&-]+|[^\w\s]")
_LONGEST = 1_500  # characters of one reply


@dataclass(frozen=True, slots=True)
class Offer:
    """What the model may speak of: `[P1]` stands for `shown`."""

    name: str
    price: Decimal | None
    shown: str
    words: frozenset[str] = frozenset()


@dataclass
class Grounding:
    """Checks one answer.

    Args:
        offers: `[P1]`, `[P2]`, ... in this order.
        asked: what was asked; its amounts may be repeated as limits.
        german: nouns begin with a capital letter, which then tells no name.
    """

    offers: Sequence[Offer]
    asked: str
    languages: Languages
    allowed_names: Iterable[str] = ()
    german: bool = False
    named: list[int] = field(default_factory=list)
    _last: list[int] = field(default_factory=list)
    _length: int = 0

    def __post_init__(self) -> None:
        self._amounts = {amount(m[0]) for m in re.finditer(AMOUNT, fold(self.asked))}
        words: set[str] = set()
        for offer in self.offers:
            words |= {*split(fold(offer.name)), *offer.words}
        words |= {word for name in self.allowed_names for word in split(fold(name))}
        term = self.languages.vocabulary.term
        self._known_words = words | {term(word) for word in words}
        by_length = sorted(enumerate(self.offers), key=lambda pair: -len(pair[1].name))
        self._literal = [
            (number, re.compile(rf"(?<!\w){re.escape(one_line(offer.name))}(?!\w)", re.IGNORECASE))
            for number, offer in by_length
            if offer.name.strip()
        ]

    def check(self, sentence: str) -> str | None:
        """The sentence as it may be said, or None."""
        marked = self._marked(plain(sentence))
        judged = self._judge(marked) if marked is not None else None
        if judged is None or self._length > _LONGEST:
            self._last = []
            return None
        for number in _numbers(judged):
            if number not in self.named:
                self.named.append(number)
        self._last = _numbers(judged) or self._last
        shown = _TOKEN.sub(lambda match: self.offers[int(match[1])].shown, judged)
        self._length += len(shown)
        return shown

    def _marked(self, text: str) -> str | None:
        """The text with each product as a token; None where a tag stands for nothing."""
        tags = [int(tag) for tag in _TAG.findall(text)]
        if any(not 1 <= tag <= len(self.offers) for tag in tags):
            return None
        marked = _TAG.sub(lambda match: f"\x00{int(match[1]) - 1}\x00", text.replace("\x00", ""))
        for number, pattern in self._literal:
            marked = pattern.sub(f"\x00{number}\x00", marked)
        return marked

    def _judge(self, marked: str) -> str | None:
        bare = _TOKEN.sub(" ", marked)
        folded = fold(bare)
        if not bare.strip() and not _numbers(marked):
            return None
        if LINK.search(folded) or CLAIM.search(folded) or self._names_something(bare):
            return None
        if not _numbers(marked) and OFFER.search(folded) and not self._all_known(folded):
            return None
        return self._priced(marked)

    # -- prices

    def _priced(self, marked: str) -> str | None:
        """The text with its amounts put right; None where one belongs to nothing."""
        about = _numbers(marked) or self._last
        repaired, position = "", 0
        for match in re.finditer(AMOUNT, _TOKEN.sub(_blank, marked)):
            before = fold(_TOKEN.sub(" ", marked[: match.start()]))
            right = self._amount(match[0], before, about, _numbers(marked[: match.start()]))
            if right is None:
                return None
            repaired += marked[position : match.start()] + right
            position = match.end()
        return _without_doubled_prices(repaired + marked[position:], self.offers)

    def _amount(
        self, text: str, before: str, about: Sequence[int], preceding: Sequence[int]
    ) -> str | None:
        value = amount(text)
        if value in self._amounts and LIMIT.search(before):
            return text if self._holds(value, before, about) else None
        if not is_money(text, before):
            return text if self._is_known_number(text) else None
        if not about:
            return None
        meant = preceding[-1:] or (about[:1] if len(set(about)) == 1 else [])
        price = self.offers[meant[0]].price if meant else None
        if price is None:
            return None
        return text if price == value else money(price)

    def _holds(self, limit: Decimal, before: str, about: Sequence[int]) -> bool:
        """Whether "under 50" is true of the products that it is said of."""
        prices = [p for number in about if (p := self.offers[number].price) is not None]
        if NO_LESS.search(before):
            return all(price >= limit for price in prices)
        return not NO_MORE.search(before) or all(price <= limit for price in prices)

    def _is_known_number(self, text: str) -> bool:
        """A number that is no price: of a product's own description, or small talk ("two")."""
        digits = re.sub(r"\D", "", text)
        return digits in self._known_words or len(digits) == 1

    # -- names

    def _names_something(self, bare: str) -> bool:
        """Whether there is a name in the text that is none of the offers'."""
        quoted = [part for match in _QUOTED.finditer(bare) for part in match.groups() if part]
        if any(not self._known(part) for part in quoted):
            return True
        if any(not self._known(code) for code in _PRODUCT_CODE.findall(bare)):
            return True
        return any(not self._known(name) for name in self._capitalised(bare))

    def _capitalised(self, bare: str) -> list[str]:
        """Runs of words that begin with a capital letter.

        The first word of a sentence has one anyway: alone it is no name, unless it is spoken of
        ("Zephyr is ..."). In German every noun has one: alone it is none.
        """
        words = _WORD_OR_SIGN.findall(bare.replace("\u2019", "'"))
        runs: list[list[str]] = []
        run: list[str] = []
        begins = True
        for word, following in zip(words, [*words[1:], ""], strict=True):
            is_name = word[0].isupper() and word != "I"
            if is_name and begins and not following[:1].isupper():
                is_name = fold(following) in SUBJECT_ENDS and not self._common(word)
            if is_name and self._common(word) and (begins or self.german):
                is_name = False
            if is_name or (run and word.isdigit()):
                run.append(word)
            else:
                runs.append(run)
                run = []
            begins = word in ":!?." or (begins and not word[0].isalnum())
        runs.append(run)
        return [" ".join(run) for run in runs if len(run) > (1 if self.german else 0)]

    def _common(self, word: str) -> bool:
        """Whether a sentence may begin with it and mean nothing."""
        return all(piece in OPENERS or self._says_nothing(piece) for piece in split(fold(word)))

    def _says_nothing(self, word: str) -> bool:
        languages = self.languages.by_code.values()
        return any(word in each.function_words or word in each.fillers for each in languages)

    def _known(self, text: str) -> bool:
        """All words are of the offers or of the shop's categories, or say nothing."""
        return all(self._known_word(word) for word in split(fold(text)))

    def _known_word(self, word: str) -> bool:
        term = self.languages.vocabulary.term(word)
        if word in self._known_words or term in self._known_words:
            return True
        return any(word in each.function_words for each in self.languages.by_code.values())

    def _all_known(self, folded: str) -> bool:
        """A sentence that offers something names nothing but what was found."""
        rest = split(OFFER.sub(" ", folded))
        return all(self._known_word(word) or self._says_nothing(word) for word in rest)


def _numbers(marked: str) -> list[int]:
    return [int(number) for number in _TOKEN.findall(marked)]


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _without_doubled_prices(marked: str, offers: Sequence[Offer]) -> str:
    """`[P1] (49.90)`: where the price is shown with the name, it need not be said once more."""

    def single(match: re.Match[str]) -> str:
        offer = offers[int(match[1])]
        is_doubled = offer.price is not None and money(offer.price) in offer.shown
        return f"\x00{match[1]}\x00" if is_doubled else match[0]

    said_again = re.compile(
        rf"\x00(\d+)\x00\s*(?:\(\s*{AMOUNT}\s*\)|(?:for|at|fur|pour|por|per|,)\s+{AMOUNT}(?=[\s.,;!]|$))"
    )
    return said_again.sub(single, marked)
