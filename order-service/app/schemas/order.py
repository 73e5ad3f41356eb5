"""Request and response models. The contract defines their field names and limits."""

from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.models.order import OrderStatus
from chassis.email_address import MAX_ADDRESS, ascii_address
from chassis.field_types import (
    MAX_MONEY,
    Identifier,
    Money,
    MultilineText,
    PositiveMoney,
    Quantity,
    VisibleText,
)

Email = Annotated[
    str,
    AfterValidator(ascii_address),
    Field(
        description="An internationalised domain is answered in its ASCII form (`xn--`).",
        json_schema_extra={"maxLength": MAX_ADDRESS},
    ),
]
MAX_PIECES = 1_000_000


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OrderItemIn(_Request):
    product_id: Identifier
    product_name: Annotated[VisibleText, Field(max_length=200)]
    quantity: Quantity
    unit_price: PositiveMoney

    @property
    def total_price(self) -> Decimal:
        return self.quantity * self.unit_price


class OrderIn(_Request):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "customer_name": "Alice Example",
                "customer_email": "alice@example.com",
                "items": [
                    {
                        "product_id": "6568f0a1c2d3e4f5a6b7c8d9",
                        "product_name": "Wireless Headphones",
                        "quantity": 2,
                        "unit_price": 79.99,
                    }
                ],
            }
        }
    )

    customer_name: Annotated[VisibleText, Field(max_length=200)]
    customer_email: Email
    items: Annotated[tuple[OrderItemIn, ...], Field(min_length=1, max_length=100, fail_fast=True)]

    @property
    def total_amount(self) -> Decimal:
        return sum((item.total_price for item in self.items), Decimal())

    @property
    def pieces(self) -> dict[str, int]:
        """How many of each product: one that is named twice is summed for the stock's sake."""
        pieces: Counter[str] = Counter()
        for item in self.items:
            pieces[item.product_id] += item.quantity
        return dict(pieces)

    @model_validator(mode="after")
    def _within_bounds(self) -> "OrderIn":
        if self.total_amount > MAX_MONEY:
            raise ValueError(f"the order's total is more than {MAX_MONEY}")
        if max(self.pieces.values()) > MAX_PIECES:
            raise ValueError(f"more than {MAX_PIECES} pieces of one product")
        return self


class StatusIn(_Request):
    model_config = ConfigDict(json_schema_extra={"example": {"status": "SHIPPED"}})

    status: OrderStatus


class CancelIn(_Request):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "Changed my mind"}})

    reason: Annotated[MultilineText, Field(max_length=500)] | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class OrderItemOut(_Answer):
    id: UUID
    product_id: str
    product_name: str
    quantity: int
    unit_price: Money
    total_price: Money


class OrderOut(_Answer):
    id: UUID
    order_number: str
    customer_name: str
    customer_email: str
    total_amount: Money
    status: OrderStatus
    items: list[OrderItemOut]
    created_at: datetime
    updated_at: datetime
