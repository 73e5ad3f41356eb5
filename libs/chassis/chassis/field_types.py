"""Field types that requests, responses and events share."""

import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints

CENT = Decimal("0.01")
MAX_MONEY = Decimal("9999999999.99")
MAX_WHOLE = 10**15

# No control characters (PostgreSQL refuses NUL, logs and mail headers fear line breaks); the
# pattern also makes pydantic refuse lone surrogates, which no store and no UTF-8 text can hold.
_LINE = r"[^\x00-\x1f\x7f]*"
_LINES = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*"
# A visible character: no space, control, format character or mark without a base, and none of the
# fillers that are letters and symbols by their category.
_SEEN = r"[^\s\p{C}\p{M}\p{Default_Ignorable_Code_Point}\u{2800}\u{1D159}]"
_VISIBLE = f"^{_LINE}{_SEEN}{_LINE}$"
_VISIBLE_LINES = f"^{_LINES}{_SEEN}{_LINES}$"
# The same for the OpenAPI document, in the subset that every regular expression engine reads.
_PUBLISHED = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"

MAX_IDENTIFIER = 100
_HEXADECIMAL_ID = re.compile("[0-9A-Fa-f]{24}")
# Unicode's Default_Ignorable_Code_Point, and two symbols that show nothing.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def canonical_id(text: str) -> str:
    """Return the one form of an id in which ids are stored and compared.

    Ignorable characters and surrounding white space are removed, the rest is in Unicode's NFC.
    Case is kept, except in an id of 24 hexadecimal digits, whose case means nothing.

    Raises:
        ValueError: the form has no visible character or more than `MAX_IDENTIFIER` characters.
    """
    if text.isascii():
        form = text.strip()
    else:
        form = unicodedata.normalize("NFC", _IGNORABLE.sub("", text)).strip()
    if not 1 <= len(form) <= MAX_IDENTIFIER:
        raise ValueError(f"must have 1 to {MAX_IDENTIFIER} visible characters")
    return form.lower() if _HEXADECIMAL_ID.fullmatch(form) else form


def _whole(value: object) -> object:
    """Return a JSON number with a zero fraction (2.0, 2e0) as an int; all else unchanged."""
    # The bound comes first: 1e999999999 as an int would fill the memory.
    if isinstance(value, Decimal | float) and -MAX_WHOLE < value < MAX_WHOLE:
        return int(value) if value == int(value) else value
    return value


def _number_not_text(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("must be a JSON number")
    return value


def _to_cents(value: Decimal) -> Decimal:
    return value.quantize(CENT)


def _amount(*, ge: int | None = None, gt: int | None = None) -> Any:
    return Field(ge=ge, gt=gt, le=MAX_MONEY, max_digits=12, decimal_places=2, allow_inf_nan=False)


def _json_number(*, ge: int | None = None, gt: int | None = None) -> BeforeValidator:
    shown = Annotated[float, Field(ge=ge, gt=gt, le=float(MAX_MONEY))]
    return BeforeValidator(_number_not_text, json_schema_input_type=shown)


_IN_CENTS = AfterValidator(_to_cents)
_AS_NUMBER = PlainSerializer(float, return_type=float, when_used="json")

# The constraints stand next to Decimal: behind a validator of our own pydantic would check them in
# Python, at four times the cost, and write its own names for them into the schema.
Money = Annotated[Decimal, _amount(ge=0), _json_number(ge=0), _IN_CENTS, _AS_NUMBER]
"""An exact amount with two places; a JSON number outside. More places are refused, not rounded."""

PositiveMoney = Annotated[Decimal, _amount(gt=0), _json_number(gt=0), _IN_CENTS, _AS_NUMBER]
"""As `Money`, and above zero."""

MoneyParameter = Annotated[Decimal, _amount(ge=0)]
"""The same in a query string, where every value arrives as text."""

Text = Annotated[
    str,
    StringConstraints(pattern=f"^(?:{_LINE}{_SEEN}{_LINE})?$"),
    Field(json_schema_extra={"pattern": f"^{_LINE}$"}),
]
"""One line without control characters, empty or with something visible; give a `max_length` where
it is used."""

VisibleText = Annotated[
    str, StringConstraints(pattern=_VISIBLE), Field(json_schema_extra={"pattern": _PUBLISHED})
]
"""As `Text`, and not empty."""

MultilineText = Annotated[
    str,
    StringConstraints(pattern=f"^(?:{_LINES}{_SEEN}{_LINES})?$"),
    Field(json_schema_extra={"pattern": f"^{_LINES}$"}),
]
"""As `Text`, line breaks and tabs allowed."""

VisibleMultilineText = Annotated[
    str,
    StringConstraints(pattern=_VISIBLE_LINES),
    Field(json_schema_extra={"pattern": f"^{_LINES}$"}),
]
"""As `MultilineText`, and not empty."""

Identifier = Annotated[VisibleText, Field(max_length=MAX_IDENTIFIER), AfterValidator(canonical_id)]
"""An id that clients choose, in its canonical form."""

ZeroFraction = BeforeValidator(_whole)
"""Beside `int` in a JSON body: 2.0 is an integer (JSON has one kind of number), "2" is not."""

Quantity = Annotated[int, Field(strict=True, gt=0, le=1_000_000), ZeroFraction]
"""A number of pieces asked for."""
