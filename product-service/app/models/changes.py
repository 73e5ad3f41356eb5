"""The list of changes: each product once, at the position of its last change."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from bson import ObjectId
from bson.errors import InvalidId

from app.models.product import Product, aware
from chassis.app.pagination import InvalidCursor, decode_cursor, encode_cursor


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the order of all changes."""

    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    product_id: ObjectId = ObjectId("0" * 24)

    def encode(self) -> str:
        """Return an opaque text for a client."""
        return encode_cursor(self.at.isoformat(), str(self.product_id))

    @classmethod
    def decode(cls, cursor: str) -> "Position":
        """Parse what `encode` returned.

        Raises:
            InvalidCursor: it is another text.
        """
        at, product_id = decode_cursor(cursor, 2)
        try:
            return cls(aware(datetime.fromisoformat(at)), ObjectId(product_id))
        except (ValueError, InvalidId):
            raise InvalidCursor(InvalidCursor.example) from None


@dataclass(frozen=True, slots=True)
class Change:
    """The last change of a product; `product` is None if it was deleted."""

    position: Position
    product: Product | None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """A page of changes.

    Attributes:
        next: the position after which the next page begins.
        complete: there was no later change.
    """

    changes: list[Change]
    next: Position
    complete: bool


@dataclass(frozen=True, slots=True)
class RecentChanges:
    """The changes since a position, unsorted.

    Attributes:
        revisions: the current revision of each stored product.
        deleted: ids of deleted products.
    """

    revisions: Mapping[ObjectId, int]
    deleted: Set[ObjectId]
