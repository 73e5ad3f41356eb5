"""The tables of inventory-service. A test compares them with the migrations.

Product ids compare as bytes (collation "C"): rows are locked in the same order in the database and
in Python, and an update of libc cannot change the order of an index.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Index,
    String,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.postgres.outbox import outbox

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ItemState(Protocol):
    """The fields that identify one state of an item."""

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


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012  read by SQLAlchemy
        int: BigInteger,
        datetime: DateTime(timezone=True),
    }


class InventoryItem(Base):
    """The quantity of one product, and how much of it is reserved."""

    __tablename__ = "inventory"
    __table_args__ = (
        UniqueConstraint("product_id", name="inventory_product_id_key"),
        CheckConstraint("quantity >= 0", name="inventory_quantity_not_negative"),
        CheckConstraint(
            "reserved_qty >= 0 AND reserved_qty <= quantity", name="inventory_reserved_within"
        ),
        CheckConstraint("product_id <> ''", name="inventory_product_id_not_empty"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    product_id: Mapped[str] = mapped_column(String(100, collation="C"))
    product_name: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int]
    reserved_qty: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    @property
    def available_qty(self) -> int:
        return self.quantity - self.reserved_qty


class MovementKey(Base):
    """A key that moved stock, or was reversed before it could. Keys never expire.

    `request` is the stored request, None for a key that was reversed first. `answer` is the stored
    response: a list of items, or after the reversal the list of the returned quantities.
    """

    __tablename__ = "movement_keys"
    __table_args__ = (
        CheckConstraint("state IN ('taken', 'given', 'reversed')", name="movement_keys_state"),
    )

    key: Mapped[str] = mapped_column(String(255, collation="C"), primary_key=True)
    request: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    state: Mapped[str] = mapped_column(String(10))
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class StockMovement(Base):
    """One line of the ledger: the sum of a product's lines is its quantity."""

    __tablename__ = "stock_movements"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('create', 'reduce', 'reverse', 'restock', 'adjust', 'delete')",
            name="stock_movements_kind",
        ),
        CheckConstraint("delta <> 0", name="stock_movements_delta_not_zero"),
        Index("stock_movements_by_product", "product_id", "at"),
    )

    key: Mapped[str] = mapped_column(String(255, collation="C"), primary_key=True)
    product_id: Mapped[str] = mapped_column(String(100, collation="C"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    delta: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


outbox.to_metadata(Base.metadata)
