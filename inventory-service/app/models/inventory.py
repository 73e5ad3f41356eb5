"""The tables. What may never be wrong is said here as a constraint, to anyone with psql too.

Product ids compare as bytes (collation "C"): the order in which rows are locked is the same in the
database and in Python, and no new libc can change an index's order.
"""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, String, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PRODUCT_ID = String(100, collation="C")
NOW = func.clock_timestamp()  # not now(): a transaction that waited for a lock began long before


class Base(DeclarativeBase):
    pass


class InventoryItem(Base):
    """How many pieces of one product there are, and how many of them are set aside."""

    __tablename__ = "inventory"
    __table_args__ = (
        CheckConstraint("quantity >= 0", name="inventory_quantity_not_negative"),
        CheckConstraint(
            "reserved_qty >= 0 AND reserved_qty <= quantity", name="inventory_reserved_within"
        ),
        CheckConstraint("product_id <> ''", name="inventory_product_id_not_empty"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    product_id: Mapped[str] = mapped_column(PRODUCT_ID, unique=True)
    product_name: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int] = mapped_column(BigInteger)
    reserved_qty: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)

    @property
    def available_qty(self) -> int:
        return self.quantity - self.reserved_qty


class MovementKey(Base):
    """One row for each key that ever moved stock, or was reversed before it could. Never expires.

    `request` is what the key asked for (null for a key reversed before it came), `answer` what it
    was told: a list of items, or after its reversal the list of what was given back.
    """

    __tablename__ = "movement_keys"
    __table_args__ = (
        CheckConstraint("state IN ('taken', 'given', 'reversed')", name="movement_keys_state"),
    )

    key: Mapped[str] = mapped_column(String(255, collation="C"), primary_key=True)
    request: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    state: Mapped[str] = mapped_column(String(10))
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class StockMovement(Base):
    """One line of the ledger. An item's quantity is the sum of its product's lines, always."""

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
    product_id: Mapped[str] = mapped_column(PRODUCT_ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    delta: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
