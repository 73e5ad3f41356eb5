"""The rows of a catalogue file before and after validation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.catalogue_files.values import (
    InvalidValue,
    one_line,
    paragraphs,
    parse_price,
    plain_text,
    require_currency,
    require_text,
)
from app.schemas.product import NewProduct
from chassis.field_types import Identifier

SHOWN_STOCK = "shown_stock_quantity"
"""The export's column. It is the number on the product page, which sales do not change, so that an
import must not set the stock of inventory-service to it."""

MAX_REASON = 200
MAX_FIELD = 100

Values = Mapping[str, Any]

_EXTERNAL_ID: TypeAdapter[str] = TypeAdapter(Identifier)
_DEFAULTS: Values = {"description": "", "tags": [], "image_url": None, "stock_quantity": 0}
_INVISIBLE = "has control characters, or no visible character"
_MAX_TAGS = 1_000  # before validation


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row as the file has it.

    Attributes:
        line: where it begins, from 1; in a JSON array the number of the element.
        values: by the column's name in lower case. Of CSV all are texts.
    """

    line: int
    values: Values


class RowRefused(Exception):
    """A row is not imported.

    Attributes:
        field: the column, as the file calls it; None if the row as a whole is at fault.
    """

    def __init__(self, line: int, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.field = None if field is None else bounded(field, MAX_FIELD)
        self.reason = bounded(reason, MAX_REASON)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A product that a row describes, in raw values.

    Attributes:
        external_id: the SKU, or the source's own id.
        values: by field of `NewProduct`; a field that the file does not have is left out.
        currency: what the file says about the price, if anything.
        is_plain: the texts are not HTML.
        columns: the names that the file has for the fields.
    """

    line: int
    external_id: object
    values: Values
    currency: str = ""
    is_plain: bool = False
    columns: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ImportedProduct:
    """A valid row.

    Attributes:
        given: the fields that the file has; others are kept when the product exists.
        stock: the count that inventory-service is to have; None if the file has none.
    """

    line: int
    external_id: str
    product: NewProduct
    given: frozenset[str]
    stock: int | None


def validated(candidate: Candidate, currency: str) -> ImportedProduct:
    """Return a product by the rules of `NewProduct`.

    Raises:
        RowRefused: for the first field that breaks a rule.
    """
    external_id = _convert(candidate, "external_id", candidate.external_id, _external_id)
    if candidate.currency:
        _convert(candidate, "currency", candidate.currency, lambda code: _currency(code, currency))

    def text(value: object) -> str:
        checked = require_text(value)
        return checked if candidate.is_plain else plain_text(checked)

    def line(value: object) -> str:
        return text(value) if candidate.is_plain else one_line(text(value))

    def lines(value: object) -> str:
        return text(value) if candidate.is_plain else paragraphs(text(value))

    def tags(value: object) -> list[str]:
        each = value.split(",") if isinstance(value, str) else value
        if not isinstance(each, list):
            raise InvalidValue("is not a list of texts")
        if len(each) > _MAX_TAGS:
            raise InvalidValue(f"has more than {_MAX_TAGS:,} tags")
        return [tag for tag in map(line, each) if tag]

    converters: Mapping[str, Callable[[object], object]] = {
        "name": line,
        "description": lines,
        "category": line,
        "price": lambda value: parse_price(value, currency),
        "tags": tags,
        "image_url": lambda value: (require_text(value).strip() if value else None) or None,
        "stock_quantity": _stock,
    }
    fields = {
        name: _convert(candidate, name, value, converters[name])
        for name, value in candidate.values.items()
    }
    try:
        product = NewProduct.model_validate({**_DEFAULTS, **fields})
    except ValidationError as error:
        raise _refusal(candidate, error) from None
    is_count = "stock_quantity" in fields and _column(candidate, "stock_quantity") != SHOWN_STOCK
    stock = product.stock_quantity if is_count else None
    return ImportedProduct(candidate.line, external_id, product, frozenset(fields), stock)


def _convert(candidate: Candidate, field: str, value: object, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(value)
    except InvalidValue as error:
        raise RowRefused(candidate.line, _column(candidate, field), str(error)) from None


def _external_id(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if text is None or text == "":
        raise InvalidValue("is missing")
    try:
        return _EXTERNAL_ID.validate_python(require_text(text))
    except ValidationError as error:
        raise InvalidValue(_message(error.errors()[0])) from None


def _currency(mark: str, currency: str) -> None:
    require_currency(one_line(require_text(mark))[:10], currency)


def _stock(value: object) -> object:
    """Return a whole number from a text such as "12" or "12.0"; other values unchanged."""
    if not isinstance(value, str):
        return value
    whole, _, fraction = value.strip().partition(".")
    digits = whole.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15) or fraction.strip("0"):
        raise InvalidValue("is not a whole number")
    return int(whole)


def _refusal(candidate: Candidate, error: ValidationError) -> RowRefused:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = str(first["loc"][0]) if first["loc"] else None
    column = None if field is None else _column(candidate, field)
    return RowRefused(candidate.line, column, _message(first))


def _message(error: Any) -> str:
    if error["type"] == "string_pattern_mismatch":
        return _INVISIBLE  # the pattern itself says nothing to a reader
    return "is missing" if error["type"] == "missing" else str(error["msg"])


def _column(candidate: Candidate, field: str) -> str:
    return (candidate.columns or {}).get(field, field)


def bounded(text: str, limit: int) -> str:
    """Return a text of bounded length with printable characters, for a report."""
    printable = "".join(one if one.isprintable() else "?" for one in text[: limit + 1])
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
