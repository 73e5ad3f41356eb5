"""Convert the texts of a catalogue file: HTML to plain text, and a price to an exact amount."""

import html
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import nh3

from chassis.field_types import CENT

MAX_TEXT = 50_000
"""Characters of one text, before its tags are removed."""

_MAX_PRICE_TEXT = 40
_CLEANING_ROUNDS = 3  # a text may have been escaped more than once
_MARKUP = re.compile("[<&]")
# Elements that separate words. They are removed here, because nh3 joins the words around them, and
# because it takes quadratic time for nested ones.
_BLOCK_TAG = re.compile(
    r"</?(?:address|article|aside|blockquote|br|center|dd|details|dialog|dir|div|dl|dt|fieldset"
    r"|figcaption|figure|footer|form|h[1-6]|header|hgroup|hr|li|main|menu|nav|ol|p|pre|search"
    r"|section|summary|table|tbody|td|tfoot|th|thead|tr|ul)(?:[\s/][^<>]*)?>",
    re.IGNORECASE,
)
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_NUMBERS = (
    re.compile(r"-?[0-9]+(?:\.[0-9]+)?"),  # 1299.00
    re.compile(r"-?[0-9]{1,3}(?:[, '][0-9]{3})+(?:\.[0-9]+)?"),  # 1,299.00
)
_COMMA_NUMBERS = (
    re.compile(r"-?[0-9]+,[0-9]{1,2}"),  # 12,50
    re.compile(r"-?[0-9]{1,3}(?:[. ][0-9]{3})+,[0-9]{1,2}"),  # 1.299,00
)
_AMOUNT = re.compile(
    r"(?P<before>[^\d\s.,'-]{0,4}) ?(?P<number>-?[\d., '-]*?) ?(?P<after>[^\d\s.,'-]{0,4})"
)
_CURRENCY_SIGNS: Mapping[str, frozenset[str]] = {
    sign: frozenset(codes.split())
    for sign, codes in {
        "$": "USD CAD AUD NZD SGD HKD MXN",
        "US$": "USD",
        "€": "EUR",
        "£": "GBP",
        "¥": "JPY CNY",
        "₹": "INR",
        "₩": "KRW",
        "₺": "TRY",
        "R$": "BRL",
        "zł": "PLN",
        "kr": "SEK NOK DKK ISK",
        "kr.": "DKK",
        "Kč": "CZK",
        "Ft": "HUF",
        "Fr.": "CHF",
    }.items()
}


class InvalidValue(ValueError):
    """A value of a row cannot be used. The text says why."""


def require_text(value: object) -> str:
    """Return a value that is a text of valid characters and of bounded length."""
    if value is None:
        raise InvalidValue("is missing")
    if not isinstance(value, str):
        raise InvalidValue("is not a text")
    if len(value) > MAX_TEXT:
        raise InvalidValue(f"has more than {MAX_TEXT:,} characters")
    if _NOT_TEXT.search(value):
        raise InvalidValue("has control characters or is not valid UTF-8")
    return value


def plain_text(markup: str) -> str:
    """Return HTML as plain text, with line breaks between its paragraphs."""
    text = markup
    for _ in range(_CLEANING_ROUNDS):
        if not _MARKUP.search(text):
            break
        without_blocks = _BLOCK_TAG.sub("\n", text)
        cleaned = html.unescape(nh3.clean(without_blocks, tags=set()))
        if cleaned == text:
            break
        text = cleaned
    return text


def one_line(text: str) -> str:
    """Return a text with each run of white space as one space."""
    return " ".join(text.split())


def paragraphs(text: str) -> str:
    """Return a text without surrounding space in its lines, and at most one empty line in a row."""
    lines = "\n".join(one_line(line) for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def parse_price(value: object, currency: str) -> Decimal:
    """Return an amount exactly, from a JSON number or a text such as "1,299.00" or "€ 10".

    A text with a comma before one or two last digits ("12,50", "1.299,00") has a decimal comma.

    Args:
        currency: the shop's ISO 4217 code. A price that names another one is refused.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise InvalidValue("is not a price")
    if not isinstance(value, str):
        return _without_zeros(Decimal(value))
    text = one_line(value)
    if not text:
        raise InvalidValue("is missing")
    found = _AMOUNT.fullmatch(text) if len(text) <= _MAX_PRICE_TEXT else None
    if found is None:
        raise InvalidValue("is not a price")
    amount = _amount(found["number"])
    for mark in (found["before"], found["after"]):
        if mark:
            require_currency(mark, currency)
    return _without_zeros(amount)


def _amount(number: str) -> Decimal:
    if any(form.fullmatch(number) for form in _NUMBERS):
        return Decimal(re.sub("[, ']", "", number))
    if any(form.fullmatch(number) for form in _COMMA_NUMBERS):
        return Decimal(re.sub("[. ]", "", number).replace(",", "."))
    raise InvalidValue("is not a price")


def require_currency(mark: str, currency: str) -> None:
    """Raise unless a sign or a code means the shop's currency."""
    code = mark.upper()
    if code == currency or currency in _CURRENCY_SIGNS.get(mark, ()):
        return
    if mark in _CURRENCY_SIGNS or re.fullmatch("[A-Z]{3}", code):
        raise InvalidValue(f"is in {mark}, but the shop's currency is {currency}")
    raise InvalidValue("is not a price")


def _without_zeros(amount: Decimal) -> Decimal:
    """Return an amount with two decimal places, or unchanged if it has more digits than that."""
    try:
        cents = amount.quantize(CENT)
    except InvalidOperation:  # NaN, or too many digits
        return amount
    return cents if cents == amount else amount
