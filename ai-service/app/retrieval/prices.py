"""Parse price ranges: "under 50", "zwischen 20 und 40 Euro", "around $30"."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_SIGN = r"(?:€|\$|£|¥|chf|eur|usd|gbp|us\$)"
_NAME = r"(?:€|\$|£|¥|euros?|eur|dollars?|usd|pounds?|gbp|chf|francs?|franken|bucks?|quid)"
_DIGITS = r"\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d{1,15}(?:[.,]\d{1,2})?(?!\d)"
AMOUNT = rf"(?:{_SIGN}\s?)?(?<![\w.,])(?:{_DIGITS})(?:\s?{_NAME}(?!\w))?(?:[.,]?-)?"
_MEASURE = (
    r"(?:%|cm|mm|m|km|ml|cl|dl|l|litres?|liters?|liter|g|kg|grams?|kilos?|inch(?:es)?|zoll|w|watts?"
    r"|lumens?|hours?|h|stunden|heures?|horas?|ore|minutes?|min|minuten|days?|tage|jours|dias|giorni"
    r"|years?|jahren?|ans|anos|anni|pieces?|pcs|teile|pieces|piezas|pezzi|persons?|people|personen"
    r"|personnes|personas|persone|players?|spieler|joueurs|pages?|seiten|sheets?|blatt|in-1|x|pack)"
)
_NUMBER_WORDS = {
    "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60,
    "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100, "zwanzig": 20, "dreissig": 30,
    "vierzig": 40, "funfzig": 50, "hundert": 100, "vingt": 20, "trente": 30, "quarante": 40,
    "cinquante": 50, "cent": 100, "veinte": 20, "treinta": 30, "cuarenta": 40, "cincuenta": 50,
    "cien": 100, "venti": 20, "trenta": 30, "quaranta": 40, "cinquanta": 50, "cento": 100,
}  # fmt: skip
_SPELT = re.compile(rf"(?<!\w)(?:a |one )?({'|'.join(_NUMBER_WORDS)})(?!\w)")
_SPREAD = Decimal("0.2")  # "around 30" is 24 to 36
_MIN_UNMARKED_PRICE = 10  # "dinner for 2" is not a price
_NOT_MONEY = re.compile(
    r"(?:ages?|aged|sizes?|years?|from|alter|grosse|ans|taille|talla|taglia)\s+$"
)
_MAX_DIGITS = 15


@dataclass(frozen=True, slots=True)
class PriceRange:
    """Price range of a query; `target` is the price that "around" named."""

    low: Decimal | None = None
    high: Decimal | None = None
    target: Decimal | None = None

    def __bool__(self) -> bool:
        return self.low is not None or self.high is not None

    @property
    def impossible(self) -> bool:
        return self.low is not None and self.high is not None and self.low > self.high

    def allows(self, price: Decimal) -> bool:
        above = self.low is None or price >= self.low
        return above and (self.high is None or price <= self.high)


def amount(text: str) -> Decimal:
    """Parse the number in `1.299,00 €`, `$1,299` or `49.9`."""
    digits = re.sub(r"[^\d.,]", "", text).strip(".,")[:_MAX_DIGITS]
    whole, point, fraction = digits, "", ""
    if match := re.fullmatch(r"(.*)([.,])(\d{1,2})", digits):
        whole, point, fraction = match.groups()
    whole = re.sub(r"\D", "", whole) or "0"
    return Decimal(f"{whole}.{fraction}" if point else whole)


class PriceReader:
    """Find prices in a folded text of one language or of English."""

    def __init__(self, *languages: Mapping[str, Any]) -> None:
        number, end = AMOUNT, rf"(?!\s?-?{_MEASURE}(?!\w))(?![\w,.]*\d)"
        between = "|".join(
            rf"(?<!\w){a}\s+(?P<l{n}>{number})\s+{b}\s+(?P<h{n}>{number}){end}"
            for n, (a, b) in enumerate(
                pair for language in languages for pair in language["between"]
            )
        )
        self._between = re.compile(between)
        through = r"(?:-|\u2013|\u2014|to|till|until|bis|a)"
        self._span = re.compile(
            rf"(?<![\w-])(?P<l>{number})\s?{through}\s?(?P<h>{number}){end}(?!-\d)"
        )

        def words(key: str) -> str:
            return "|".join(language[key] for language in languages if language.get(key))

        prefix = (
            r"(?:(?:the|der|die|den|il|i|les|los|price|preis|prix|precio|prezzo|of|is|von|de)\s+)*"
        )
        self._max = re.compile(rf"(?<!\w)(?:{words('max')})\s*{prefix}(?P<n>{number}){end}")
        self._min = re.compile(rf"(?<!\w)(?:{words('min')})\s*{prefix}(?P<n>{number}){end}")
        joins = "and|und|et|y|e|or|but|please|bitte|for|fur"
        near = rf"(?=\s*(?:$|[.,;!?)]|(?:{joins})\b|\D*$))"
        self._around = re.compile(
            rf"(?:(?<!\w)(?:{words('around')})|~)\s*{prefix}(?P<n>{number}){end}"
        )
        weak = rf"(?<!\w)(?:{words('weak')})\s+(?P<n>{number}){end}{near}"
        self._weak = re.compile(weak)
        self._after_max = re.compile(rf"(?P<n>{number}){end}\s*(?:{words('after_max')})(?!\w)")
        self._after_min = re.compile(rf"(?P<n>{number}){end}\s*(?:{words('after_min')})(?!\w)")
        self._bare = re.compile(
            rf"(?P<n>{_SIGN}\s?(?:{_DIGITS})|(?<![\w.,])(?:{_DIGITS})\s?{_NAME}(?!\w))"
        )

    def read(self, folded: str) -> tuple[PriceRange, str]:
        """Return the price range in the text, and the text without it."""
        text = _SPELT.sub(lambda match: str(_NUMBER_WORDS[match[1]]), folded)
        for pattern in (self._between, self._span):
            if match := pattern.search(text):
                low, high = _bounds_of_match(match)
                if pattern is self._span and not _is_price_span(text, match):
                    break
                return PriceRange(low, high), _cut(text, match)
        return self._bounds(text)

    def without_joins(self, folded: str) -> str:
        """Replace "between 20 and 25" by "20-25 eur", so that "and" only separates list items."""
        return self._between.sub(lambda match: "{}-{} eur".format(*_bounds_of_match(match)), folded)

    def _bounds(self, text: str) -> tuple[PriceRange, str]:
        low = high = None
        for pattern in (self._after_max, self._after_min):
            if match := pattern.search(text):
                value, text = amount(match["n"]), _cut(text, match)
                high, low = (value, low) if pattern is self._after_max else (high, value)
        if match := self._max.search(text):
            high, text = amount(match["n"]), _cut(text, match)
        if match := self._min.search(text):
            low, text = amount(match["n"]), _cut(text, match)
        if low is not None or high is not None:
            return PriceRange(low, high), text
        if match := self._around.search(text):
            near = amount(match["n"])
            return PriceRange(near * (1 - _SPREAD), near * (1 + _SPREAD), near), _cut(text, match)
        if match := self._bare.search(text):
            return PriceRange(high=amount(match["n"])), _cut(text, match)
        if (match := self._weak.search(text)) and amount(match["n"]) >= _MIN_UNMARKED_PRICE:
            return PriceRange(high=amount(match["n"])), _cut(text, match)
        return PriceRange(), text


def _bounds_of_match(match: re.Match[str]) -> tuple[Decimal, Decimal]:
    low, high = sorted(amount(value) for value in match.groups() if value)
    return low, high


def _is_price_span(text: str, match: re.Match[str]) -> bool:
    """Return True if "20 to 25" is a price: a currency is named, or no other unit is."""
    if re.search(_NAME, text):
        return True
    low, _ = _bounds_of_match(match)  # "3-5 people", "7 to 12": small numbers are rarely prices
    return low >= _MIN_UNMARKED_PRICE and not _NOT_MONEY.search(text[: match.start()])


def _cut(text: str, match: re.Match[str]) -> str:
    return f"{text[: match.start()]} {text[match.end() :]}"
