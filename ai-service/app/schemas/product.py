"""A product as product-service returns it and this service forwards it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from chassis.field_types import Money

_EXAMPLE: dict[str, Any] = {
    "id": "665f1c2e9b1d4c3a2f8e7d60",
    "name": "Walnut desk lamp",
    "description": "A warm light on a turned walnut stand.",
    "price": 49.9,
    "category": "Home",
    "tags": ["lamp", "walnut"],
    "image_url": "/api/products/images/walnut-desk-lamp.svg",
    "stock_quantity": 25,
    "created_at": "2026-11-23T09:30:00.125Z",
    "updated_at": "2026-11-23T09:30:00.125Z",
}

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""Forwarded unchanged, never parsed."""


class Product(BaseModel):
    """A product of the catalogue. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra={"example": _EXAMPLE})

    id: str
    name: str
    description: str = ""
    price: Money
    category: str = ""
    tags: tuple[str, ...] = ()
    image_url: str | None = None
    stock_quantity: int = 0
    created_at: Timestamp
    updated_at: Timestamp
