"""The rows of the tables. The tables themselves are migrations/: what may never be wrong is said
there as a constraint, to anyone with psql too.

Product ids compare as bytes (collation "C"): the order in which rows are locked is the same in the
database and in Python, and no new libc can change an index's order.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ItemState(Protocol):
    """The part of an item that tells its states apart."""

    @property
    def id(self) -> UUID: ...

    @property
    def updated_at(self) -> datetime: ...


def entity_tag(item: ItemState) -> str:
    """Return the strong entity tag of one state of an item.

    The database gives each change a later `updated_at` (migration 0003). A product that is deleted
    and created again has another `id`. No tag repeats.
    """
    microseconds = (item.updated_at - _EPOCH) // timedelta(microseconds=1)
    return f'"{item.id.hex}-{microseconds:x}"'


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """How many pieces of one product there are, and how many of them are set aside."""

    id: UUID
    product_id: str
    product_name: str
    quantity: int
    reserved_qty: int
    created_at: datetime
    updated_at: datetime

    @property
    def available_qty(self) -> int:
        return self.quantity - self.reserved_qty


@dataclass(frozen=True, slots=True)
class MovementKey:
    """One row for each key that ever moved stock, or was reversed before it could. Never expires.

    `request` is what the key asked for (None for a key reversed before it came), `answer` what it
    was told: a list of items, or after its reversal the list of what was given back.
    """

    request: dict[str, Any] | None
    state: str
    answer: str | None
