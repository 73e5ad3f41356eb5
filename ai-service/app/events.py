"""Models of the consumed event order-placed and of the produced event ai-notification-ready.

The JSON schemas are in contracts/events; contract tests check both sides against them.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from chassis.field_types import Money
from chassis.kafka.events import Envelope, Event

ORDER_PLACED = "order-placed"
AI_NOTIFICATION_READY = "ai-notification-ready"

Name = Annotated[str, Field(min_length=1)]


class Item(BaseModel):
    product_id: Name
    product_name: Name
    quantity: int = Field(ge=1)
    price: Money


class OrderPlaced(Envelope):
    """Fields of order-placed that the follow-up needs. Unknown fields are ignored."""

    event_type: Literal["ORDER_PLACED"]
    order_id: UUID
    order_number: Name
    customer_name: Name
    customer_email: Name
    items: list[Item] = Field(min_length=1)


class AiNotificationReady(Event):
    event_type: Literal["AI_NOTIFICATION_READY"] = "AI_NOTIFICATION_READY"
    order_id: UUID
    order_number: str
    customer_name: str
    customer_email: str
    subject: Annotated[str, Field(max_length=200)]
    body_html: Annotated[str, Field(max_length=100_000)]
    source: Annotated[str, Field(min_length=1, max_length=100)]
