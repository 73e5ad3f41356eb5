"""The events that order-service owns; contracts/events has their schemas and golden samples."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from app.models.order import Order
from chassis.field_types import Money
from chassis.kafka.events import Event

ORDER_PLACED = "order-placed"
ORDER_CANCELLED = "order-cancelled"


class EventItem(BaseModel):
    model_config = ConfigDict(frozen=True)

    product_id: str
    product_name: str
    quantity: int
    price: Money


class _OrderEvent(Event):
    order_id: UUID
    order_number: str
    customer_name: str
    customer_email: str
    total_amount: Money
    items: tuple[EventItem, ...]


class OrderPlaced(_OrderEvent):
    event_type: Literal["ORDER_PLACED"] = "ORDER_PLACED"


class OrderCancelled(_OrderEvent):
    event_type: Literal["ORDER_CANCELLED"] = "ORDER_CANCELLED"
    reason: str | None


def _facts(order: Order) -> dict[str, object]:
    items = tuple(
        EventItem(
            product_id=item.product_id,
            product_name=item.product_name,
            quantity=item.quantity,
            price=item.unit_price,
        )
        for item in order.items
    )
    return {
        "order_id": order.id,
        "order_number": order.order_number,
        "customer_name": order.customer_name,
        "customer_email": order.customer_email,
        "total_amount": order.total_amount,
        "items": items,
    }


def order_placed(order: Order) -> OrderPlaced:
    return OrderPlaced.model_validate(_facts(order))


def order_cancelled(order: Order) -> OrderCancelled:
    return OrderCancelled.model_validate({**_facts(order), "reason": order.cancel_reason})
