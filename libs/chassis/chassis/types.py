"""Value types that requests, answers and events share."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints

CENT = Decimal("0.01")
MAX_MONEY = Decimal("9999999999.99")

# No control characters (PostgreSQL refuses NUL, logs and mail headers fear line breaks); the
# pattern also makes pydantic refuse lone surrogates, which no store and no UTF-8 answer can hold.
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_MANY_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
# Something to see: at least one character that is no white space.
_VISIBLE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"


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
"""As `Money`, and not nothing."""

MoneyParameter = Annotated[Decimal, _amount(ge=0)]
"""The same in a query string, where every value arrives as text."""

Text = Annotated[str, StringConstraints(pattern=_ONE_LINE)]
"""One line without control characters; give a `max_length` where it is used."""

VisibleText = Annotated[str, StringConstraints(pattern=_VISIBLE)]
"""As `Text`, and not blank."""

MultilineText = Annotated[str, StringConstraints(pattern=_MANY_LINES)]
"""As `Text`, line breaks and tabs allowed."""

Quantity = Annotated[int, Field(strict=True, gt=0, le=1_000_000)]
"""A number of pieces asked for. Strict: "1" and true are not numbers."""
