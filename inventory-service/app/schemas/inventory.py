"""Requests and answers of /api/inventory."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from chassis.field_types import Identifier, Quantity, VisibleText, ZeroFraction

MAX_STOCK = 1_000_000_000
"""Pieces of one product that may be entered; far from what the column can hold."""

_PRODUCT = "6568f0a1c2d3e4f5a6b7c8d9"

ProductId = Annotated[Identifier, Field(examples=[_PRODUCT], json_schema_extra={"minLength": 1})]
ProductName = Annotated[
    VisibleText, Field(min_length=1, max_length=200, examples=["Wireless Headphones"])
]
StockLevel = Annotated[int, Field(strict=True, ge=0, le=MAX_STOCK, examples=[50]), ZeroFraction]
Pieces = Annotated[Quantity, Field(examples=[2])]
SummedPieces = Annotated[int, Field(strict=True, gt=0, le=100_000_000, examples=[2]), ZeroFraction]
"""What a hundred lines of a million each may have been summed to by the caller."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class NewItem(_Request):
    product_id: ProductId
    product_name: ProductName
    quantity: StockLevel


class ItemChanges(_Request):
    """What to set. A field that is left out stays as it is; null is no value for any of them."""

    product_name: ProductName | SkipJsonSchema[None] = None
    quantity: StockLevel | SkipJsonSchema[None] = None
    reserved_qty: StockLevel | SkipJsonSchema[None] = None

    @model_validator(mode="after")
    def _no_null(self) -> Self:
        if any(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("a field may be left out, but it cannot be null")
        return self


class _Movement(_Request):
    @property
    def options(self) -> dict[str, Any]:
        """The fields beside the pieces, without those at their default.

        They are stored with an Idempotency-Key, so a new optional field changes no older request.
        """
        return self.model_dump(mode="json", exclude={"quantity", "items"}, exclude_defaults=True)


class Amount(_Movement):
    quantity: Pieces


class ReductionLine(_Request):
    product_id: ProductId
    quantity: SummedPieces


class Reduction(_Movement):
    """All of these or none. The same product twice is summed."""

    items: Annotated[list[ReductionLine], Field(min_length=1, max_length=100, fail_fast=True)]


class Item(_Answer):
    id: UUID
    product_id: str = Field(examples=[_PRODUCT])
    product_name: str = Field(examples=["Wireless Headphones"])
    quantity: int = Field(examples=[50])
    reserved_qty: int = Field(examples=[5])
    available_qty: int = Field(description="quantity - reserved_qty", examples=[45])
    created_at: datetime
    updated_at: datetime


class StoredState(BaseModel):
    """The fields of a stored answer, of any release, that identify the state of an item."""

    id: UUID
    updated_at: datetime


class Availability(_Answer):
    product_id: str = Field(examples=[_PRODUCT])
    requested: int = Field(examples=[2])
    in_stock: bool
    available_qty: int = Field(examples=[45])


class ReturnedLine(_Answer):
    product_id: str = Field(examples=[_PRODUCT])
    quantity: int = Field(examples=[2])


class Reversal(_Answer):
    """What a key's movement gave back; empty where it had taken nothing."""

    returned: list[ReturnedLine]


class Message(_Answer):
    message: str = Field(examples=[f"Inventory item {_PRODUCT} deleted successfully."])
