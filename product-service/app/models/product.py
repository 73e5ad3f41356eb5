"""A product of the catalogue."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Self

from bson import ObjectId

from chassis.field_types import canonical_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ID_FORM = "[0-9a-fA-F]{24}"


def now() -> datetime:
    """Return the time in UTC with millisecond precision, as MongoDB stores it, so that the response
    to a write equals the next read."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


def aware(moment: datetime) -> datetime:
    """Return a time with its zone. Raises ValueError for a time without."""
    if moment.tzinfo is None:
        raise ValueError("time without zone")
    return moment


def milliseconds(moment: datetime) -> int:
    """Return the milliseconds since 1970, without rounding."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def product_id_of(text: str) -> ObjectId | None:
    """Parse a product id. Return None if the text is not a valid id."""
    return ObjectId(text) if re.fullmatch(ID_FORM, text) else None


def product_id_like(text: str) -> ObjectId | None:
    """Parse a product id in any spelling, such as with a space or full-width digits.

    Used for prices, so that a variant of a product id cannot be sold at another price.
    """
    try:
        plain = unicodedata.normalize("NFKC", canonical_id(text))
    except ValueError:
        return None
    return product_id_of("".join(plain.split()))


@dataclass(frozen=True, slots=True)
class ListPrice:
    """Current price and name of a product."""

    price: Decimal
    name: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Result of a price lookup for one id; only listed products have `price` and `name`."""

    product_id: str
    state: Literal["listed", "deleted", "unknown"]
    price: Decimal | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A revision of a product; `revision` is used for optimistic locking.

    Attributes:
        external_id: the id in the file that the product was imported from; unique.
    """

    id: ObjectId = field(default_factory=ObjectId)
    name: str
    description: str
    price: Decimal
    category: str
    tags: list[str]
    image_url: str | None = None
    stock_quantity: int
    created_at: datetime
    updated_at: datetime
    revision: int = 1
    external_id: str | None = None

    @property
    def entity_tag(self) -> str:
        """The strong entity tag of this state. An id is never used again, so no tag repeats."""
        return f'"{self.revision}"'

    def edited(self, changes: Mapping[str, Any], at: datetime) -> Self:
        """Return the next revision with `changes` applied."""
        # `updated_at` must not decrease if another replica's clock is ahead.
        at = max(at, self.updated_at)
        return replace(self, **changes, updated_at=at, revision=self.revision + 1)
