"""Orders, their items, and the keys under which they were asked for."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.database import Base


class OrderStatus(StrEnum):
    """PENDING → CONFIRMED → SHIPPED → DELIVERED; CANCELLED from PENDING or CONFIRMED."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"

    @property
    def can_be_cancelled(self) -> bool:
        return self in (OrderStatus.PENDING, OrderStatus.CONFIRMED)

    @property
    def before(self) -> "OrderStatus | None":
        """The status an order must have to be moved to this one by a person; None: it cannot."""
        steps = {
            OrderStatus.SHIPPED: OrderStatus.CONFIRMED,
            OrderStatus.DELIVERED: OrderStatus.SHIPPED,
        }
        return steps.get(self)


class CancelledBy(StrEnum):
    """Who ended an order; it decides what the request that placed it may still answer."""

    CALLER = "CALLER"
    PLACING = "PLACING"  # its own request: refused, or the reduction's outcome not known
    RECOVERY = "RECOVERY"


# Word for word the predicate of a partial index: a bound parameter would hide it from the planner.
UNFINISHED = text("(status = 'PENDING' OR stock_debt)")


def _one_of(column: str, values: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint(_one_of("status", OrderStatus), name="status_known"),
        CheckConstraint(_one_of("cancelled_by", CancelledBy), name="cancelled_by_known"),
        CheckConstraint("total_amount >= 0", name="total_not_negative"),
        CheckConstraint(
            "(status = 'CANCELLED') = (cancelled_by IS NOT NULL)", name="cancelled_by_someone"
        ),
        CheckConstraint("NOT stock_debt OR status = 'CANCELLED'", name="debt_only_when_cancelled"),
        # Without a lease the recovery loop would never find it.
        CheckConstraint(
            "lease_until IS NOT NULL OR (status <> 'PENDING' AND NOT stock_debt)",
            name="unfinished_has_a_lease",
        ),
        Index("orders_newest", text("created_at DESC"), text("id DESC")),
        Index("orders_by_status", "status", text("created_at DESC"), text("id DESC")),
        Index(
            "orders_by_email",
            text("lower(customer_email)"),
            text("created_at DESC"),
            text("id DESC"),
        ),
        Index(
            "orders_to_recover",
            "lease_until",
            postgresql_where=UNFINISHED,
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_number: Mapped[str] = mapped_column(Text, unique=True)
    customer_name: Mapped[str] = mapped_column(Text)
    customer_email: Mapped[str] = mapped_column(Text)
    total_amount: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    status: Mapped[str] = mapped_column(Text, default=OrderStatus.PENDING)
    cancelled_by: Mapped[str | None] = mapped_column(Text)
    cancel_reason: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    stock_debt: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )

    items: Mapped[list["OrderItem"]] = relationship(
        order_by="OrderItem.position", lazy="raise", passive_deletes="all"
    )


class OrderItem(Base):
    __tablename__ = "order_items"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("unit_price >= 0", name="price_not_negative"),
        CheckConstraint("total_price = quantity * unit_price", name="total_is_product"),
        Index("order_items_of_order", "order_id", "position"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    position: Mapped[int]
    product_id: Mapped[str] = mapped_column(Text)
    product_name: Mapped[str] = mapped_column(Text)
    quantity: Mapped[int]
    unit_price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    total_price: Mapped[Decimal] = mapped_column(Numeric(12, 2))


class IdempotencyRecord(Base):
    """One row for each principal and key. It goes with its order when that never stood."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        PrimaryKeyConstraint("principal", "key"),
        Index("idempotency_keys_by_order", "order_id", unique=True),
        Index("idempotency_keys_by_age", "created_at"),
    )

    principal: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    request: Mapped[str] = mapped_column(Text)
    order_id: Mapped[UUID] = mapped_column(
        # Deferred: the key is claimed first, so that a lost race costs one statement.
        ForeignKey("orders.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED")
    )
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )
