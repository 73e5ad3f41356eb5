"""The tables of order-service. A test compares them with the migrations.

Repositories execute Core statements on these tables. Outside of them an `Order` is a plain object
that belongs to no session.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    DateTime,
    ForeignKey,
    Index,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from chassis.postgres.outbox import outbox

_NEWEST_FIRST: tuple[ColumnElement[Any], ...] = (
    literal_column("created_at DESC"),
    literal_column("id DESC"),
)


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
        """The status from which an order may be advanced to this one; None if there is none."""
        steps = {
            OrderStatus.SHIPPED: OrderStatus.CONFIRMED,
            OrderStatus.DELIVERED: OrderStatus.SHIPPED,
        }
        return steps.get(self)


class CancelledBy(StrEnum):
    """The cause of a cancellation. It decides the response of the request that was placing it."""

    CALLER = "CALLER"
    PLACING = "PLACING"  # its own request: refused, or the outcome of the reduction is unknown
    RECOVERY = "RECOVERY"


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012  read by SQLAlchemy
        str: Text,
        OrderStatus: Text,
        CancelledBy: Text,
        Decimal: Numeric(12, 2),
        datetime: DateTime(timezone=True),
    }


class OrderItem(Base):
    """One line of an order."""

    __tablename__ = "order_items"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("total_price = quantity * unit_price", name="total_is_product"),
        CheckConstraint("unit_price >= 0", name="price_not_negative"),
        Index("order_items_of_order", "order_id", "position"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    position: Mapped[int]
    product_id: Mapped[str]
    product_name: Mapped[str]
    quantity: Mapped[int]
    unit_price: Mapped[Decimal]
    total_price: Mapped[Decimal]


class Order(Base):
    """An order. `lease_until` and `stock_debt` are the recovery loop's: see docs/order-flow.md."""

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("order_number", name="orders_order_number_key"),
        CheckConstraint(
            "(status = 'CANCELLED') = (cancelled_by IS NOT NULL)", name="cancelled_by_someone"
        ),
        CheckConstraint("NOT stock_debt OR status = 'CANCELLED'", name="debt_only_when_cancelled"),
        CheckConstraint(
            "cancelled_by IN ('CALLER', 'PLACING', 'RECOVERY')", name="cancelled_by_known"
        ),
        CheckConstraint(
            "status IN ('PENDING', 'CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED')",
            name="status_known",
        ),
        CheckConstraint(
            "lease_until IS NOT NULL OR (status <> 'PENDING' AND NOT stock_debt)",
            name="unfinished_has_a_lease",
        ),
        CheckConstraint("total_amount >= 0", name="total_not_negative"),
        Index("orders_by_email", func.lower(literal_column("customer_email")), *_NEWEST_FIRST),
        Index("orders_by_status", "status", *_NEWEST_FIRST),
        Index("orders_newest", *_NEWEST_FIRST),
        Index(
            "orders_to_recover",
            "lease_until",
            postgresql_where=text("(status = 'PENDING' OR stock_debt)"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_number: Mapped[str]
    customer_name: Mapped[str]
    customer_email: Mapped[str]
    total_amount: Mapped[Decimal]
    status: Mapped[OrderStatus]
    cancelled_by: Mapped[CancelledBy | None]
    cancel_reason: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    stock_debt: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    items: Mapped[list[OrderItem]] = relationship(order_by=OrderItem.position)


class IdempotencyKey(Base):
    """An Idempotency-Key with its order. `answer` is the body of the 201, once there is one."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("idempotency_keys_by_age", "created_at"),
        Index("idempotency_keys_by_order", "order_id", unique=True),
    )

    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request: Mapped[str]
    order_id: Mapped[UUID] = mapped_column(
        ForeignKey("orders.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED")
    )
    answer: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


outbox.to_metadata(Base.metadata)
