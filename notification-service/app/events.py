"""The events that this service consumes, with the fields that its mails need.

Unknown fields are ignored. The contract tests compare the models with contracts/events.
"""

import re
from email.utils import parseaddr
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from chassis.field_types import Money
from chassis.kafka.events import Envelope

# The syntax of HTML's <input type=email>, which order-service accepts. It has no blanks, quotes or
# brackets, so an address cannot end an SMTP command or a header.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_DOMAIN}")
_PLAIN = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_DOMAIN}")  # parsers return it unchanged


def _address(value: str) -> str:
    if len(value) <= 254 and (_PLAIN.fullmatch(value) or _is_odd_address(value)):
        return value
    raise ValueError("not an e-mail address")


def _is_odd_address(value: str) -> bool:
    return bool(_EMAIL.fullmatch(value)) and parseaddr(value)[1] == value


Email = Annotated[str, AfterValidator(_address)]
Name = Annotated[str, Field(min_length=1)]


class Item(BaseModel):
    product_name: Name
    quantity: int = Field(ge=1)
    price: Money


class _OrderEvent(Envelope):
    order_id: UUID
    order_number: Name
    customer_name: Name
    customer_email: Email


class OrderPlaced(_OrderEvent):
    event_type: Literal["ORDER_PLACED"]
    total_amount: Money
    items: list[Item] = Field(min_length=1)


class OrderCancelled(_OrderEvent):
    event_type: Literal["ORDER_CANCELLED"]
    total_amount: Money
    items: list[Item] = Field(min_length=1)
    reason: str | None


class InventoryLow(Envelope):
    event_type: Literal["INVENTORY_LOW"]
    product_id: Name
    product_name: Name
    available_qty: int
    threshold: int


class AiNotificationReady(_OrderEvent):
    event_type: Literal["AI_NOTIFICATION_READY"]
    subject: Name
    body_html: Name
    source: Name
