"""The events of this service: order-placed as it reads it, ai-notification-ready as it makes it.

The schemas are in contracts/events; the contract tests hold both sides together.
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
    """Tolerant: what the follow-up needs, unknown fields ignored."""

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
