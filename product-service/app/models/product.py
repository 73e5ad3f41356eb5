"""A product of the catalogue."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, Self

from bson import ObjectId

from chassis.field_types import canonical_id

ID_FORM = "[0-9a-fA-F]{24}"


def now() -> datetime:
    """The time in UTC, to the millisecond: MongoDB keeps no more, and an answer that showed more
    would differ from the next read."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


def product_id_of(text: str) -> ObjectId | None:
    """The id that a text names; None if it cannot be one of this catalogue's."""
    return ObjectId(text) if re.fullmatch(ID_FORM, text) else None


def product_id_like(text: str) -> ObjectId | None:
    """Return the id that a text names in any spelling, such as with a space or full-width digits.

    For prices: a spelling that reads like a product's id is not sold at another price.
    """
    try:
        plain = unicodedata.normalize("NFKC", canonical_id(text))
    except ValueError:
        return None
    return product_id_of("".join(plain.split()))


@dataclass(frozen=True, slots=True)
class ListPrice:
    """The price and the name at which a product is for sale."""

    price: Decimal
    name: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The catalogue's answer about one id; `price` and `name` of a listed product only."""

    product_id: str
    state: Literal["listed", "deleted", "unknown"]
    price: Decimal | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One state of a product; `revision` counts its states and guards concurrent edits."""

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

    @property
    def entity_tag(self) -> str:
        """The strong entity tag of this state. An id is never used again, so no tag repeats."""
        return f'"{self.revision}"'

    def edited(self, changes: Mapping[str, Any], at: datetime) -> Self:
        """The next state, with `changes` applied."""
        # A clock behind that of another replica must not make time run backwards.
        at = max(at, self.updated_at)
        return replace(self, **changes, updated_at=at, revision=self.revision + 1)
