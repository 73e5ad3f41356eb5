"""Orders and their items, as the database has them; its rules are in migrations/."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


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


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One line of an order."""

    id: UUID
    product_id: str
    product_name: str
    quantity: int
    unit_price: Decimal
    total_price: Decimal


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What a customer wants, before anything of it is stored."""

    id: UUID
    order_number: str
    customer_name: str
    customer_email: str
    total_amount: Decimal
    items: tuple[OrderItem, ...]


@dataclass(frozen=True, slots=True)
class Order(NewOrder):
    """An order that is stored, as it stands."""

    status: OrderStatus
    created_at: datetime
    updated_at: datetime
    cancelled_by: CancelledBy | None = None
    cancel_reason: str | None = None
