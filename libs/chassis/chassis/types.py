"""Value types that requests, answers and events share."""

from decimal import Decimal
from typing import Annotated

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


# The constraints stand next to Decimal: behind a validator of our own pydantic would check them in
# Python, at four times the cost, and write its own names for them into the schema.
Money = Annotated[
    Decimal,
    Field(ge=0, le=MAX_MONEY, max_digits=12, decimal_places=2, allow_inf_nan=False),
    BeforeValidator(
        _number_not_text, json_schema_input_type=Annotated[float, Field(ge=0, le=float(MAX_MONEY))]
    ),
    AfterValidator(_to_cents),
    PlainSerializer(float, return_type=float, when_used="json"),
]
"""An exact amount with two places; a JSON number outside. More places are refused, not rounded."""

PositiveMoney = Annotated[
    Decimal,
    Field(gt=0, le=MAX_MONEY, max_digits=12, decimal_places=2, allow_inf_nan=False),
    BeforeValidator(
        _number_not_text, json_schema_input_type=Annotated[float, Field(gt=0, le=float(MAX_MONEY))]
    ),
    AfterValidator(_to_cents),
    PlainSerializer(float, return_type=float, when_used="json"),
]
"""As `Money`, and not nothing."""

MoneyParameter = Annotated[
    Decimal, Field(ge=0, le=MAX_MONEY, max_digits=12, decimal_places=2, allow_inf_nan=False)
]
"""The same in a query string, where every value arrives as text."""

Text = Annotated[str, StringConstraints(pattern=_ONE_LINE)]
"""One line without control characters; give a `max_length` where it is used."""

VisibleText = Annotated[str, StringConstraints(pattern=_VISIBLE)]
"""As `Text`, and not blank."""

MultilineText = Annotated[str, StringConstraints(pattern=_MANY_LINES)]
"""As `Text`, line breaks and tabs allowed."""

Quantity = Annotated[int, Field(strict=True, gt=0, le=1_000_000)]
"""A number of pieces asked for. Strict: "1" and true are not numbers."""
