"""Request and response models. Requests with unknown fields are refused. Responses are not
validated, so that a stricter rule for requests cannot make stored products unreadable."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    with_config,
)
from typing_extensions import TypedDict

from app.models.product import Product
from chassis.field_types import (
    MultilineText,
    PositiveMoney,
    Text,
    VisibleText,
    ZeroFraction,
)

_IMAGE_URL = re.compile(
    r"https?://[^\s/?#\\<>\"]+[^\s\\<>\"]*"  # an absolute URL
    r"|/(?![/\\])[^\s\\<>\"]*"  # a path on this host; //host would be another one
    r"|data:image/[a-z0-9.+-]+[;,].*",
    re.IGNORECASE,
)


def _image_url(value: str) -> str:
    # Other schemes such as javascript: would run in pages that use the URL.
    if not _IMAGE_URL.fullmatch(value):
        raise ValueError("must be an http(s) URL, a path beginning with / or a data:image/ URL")
    return value


def _strip_each(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [tag.strip() if isinstance(tag, str) else tag for tag in value]


def _without_duplicates(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


Name = Annotated[VisibleText, Field(min_length=1, max_length=200, examples=["Walnut desk lamp"])]
Description = Annotated[
    MultilineText, Field(max_length=5_000, examples=["A warm light on a turned walnut stand."])
]
Price = Annotated[PositiveMoney, Field(examples=[49.9])]
Category = Annotated[VisibleText, Field(min_length=1, max_length=100, examples=["Home"])]
Tag = Annotated[VisibleText, Field(min_length=1, max_length=50)]
Tags = Annotated[
    list[Tag],
    Field(max_length=20, fail_fast=True, examples=[["lamp", "walnut"]]),
    BeforeValidator(_strip_each, json_schema_input_type=list[Tag]),
    AfterValidator(_without_duplicates),
]
ImageUrl = Annotated[
    Text,
    Field(
        max_length=2_000,
        description="an http(s) URL, a path beginning with / or a data:image/ URL",
        examples=["/api/products/images/walnut-desk-lamp.svg"],
    ),
    AfterValidator(_image_url),
]
Stock = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=1_000_000_000,
        description="number shown on the product page; inventory-service has the sellable stock",
        examples=[25],
    ),
    ZeroFraction,
]


class NewProduct(BaseModel):
    """A product to create."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    description: Description
    price: Price
    category: Category
    tags: Tags = []
    image_url: ImageUrl | None = None
    stock_quantity: Stock


@with_config(ConfigDict(extra="forbid"))
class ProductChanges(TypedDict, total=False):
    """Any subset of a product's fields; others are kept. Only image_url may be null."""

    # A TypedDict contains only the sent fields, so "not sent" differs from null.
    name: Name
    description: Description
    price: Price
    category: Category
    tags: Tags
    image_url: ImageUrl | None
    stock_quantity: Stock


def _milliseconds(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    AwareDatetime,
    PlainSerializer(_milliseconds, return_type=str, when_used="json"),
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T09:30:00.125Z"]),
]

AnsweredPrice = Annotated[
    Decimal, PlainSerializer(float, return_type=float, when_used="json"), Field(examples=[49.9])
]

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


class ProductView(BaseModel):
    """A product of the catalogue."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _EXAMPLE})

    id: Annotated[str, BeforeValidator(str)]
    name: str
    description: str
    price: AnsweredPrice
    category: str
    tags: list[str]
    image_url: str | None
    stock_quantity: int
    created_at: Moment
    updated_at: Moment


def product_view(product: Product) -> dict[str, Any]:
    """Return a product as `ProductView` documents it, without validation."""
    return {
        "id": str(product.id),
        "name": product.name,
        "description": product.description,
        "price": float(product.price),
        "category": product.category,
        "tags": product.tags,
        "image_url": product.image_url,
        "stock_quantity": product.stock_quantity,
        "created_at": _milliseconds(product.created_at),
        "updated_at": _milliseconds(product.updated_at),
    }


class ProductPageView(BaseModel):
    """One page of the catalogue; `total` counts the products of all pages."""

    model_config = ConfigDict(from_attributes=True)

    products: list[ProductView]
    total: int
    page: int
    page_size: int


class PriceQuestion(BaseModel):
    """Ids of a price lookup. Unknown ids are not an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product_ids: Annotated[
        list[Annotated[VisibleText, Field(max_length=100)]],
        Field(min_length=1, max_length=100, fail_fast=True),
    ]


class ListingView(BaseModel):
    """Result for one id; price and name if the product is listed."""

    model_config = ConfigDict(from_attributes=True)

    product_id: str
    state: Literal["listed", "deleted", "unknown"]
    price: AnsweredPrice | None
    name: str | None


class ListingsView(BaseModel):
    """One row for each requested id, in request order."""

    prices: list[ListingView]


class Deleted(BaseModel):
    message: Annotated[str, Field(examples=["Product Walnut desk lamp deleted successfully"])]


SortOrder = Literal["price", "-price", "name", "created_at", "-created_at"]


class SuggestionView(BaseModel):
    """A completion of a search text; `product_id` is null for a category."""

    model_config = ConfigDict(from_attributes=True)

    text: str
    kind: Literal["category", "product"]
    product_id: Annotated[str | None, BeforeValidator(lambda value: value and str(value))]


class SuggestionsView(BaseModel):
    """Categories first, then product names, the best match first."""

    suggestions: list[SuggestionView]


class FacetCountView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    value: str
    count: int


class PriceRangeCountView(BaseModel):
    """A price range; `below_price` is null for the last one."""

    model_config = ConfigDict(from_attributes=True)

    from_price: int
    below_price: int | None
    count: int


class FacetsView(BaseModel):
    """Numbers of products by category, price range, tag and stock."""

    model_config = ConfigDict(from_attributes=True)

    total: int
    categories: list[FacetCountView]
    prices: list[PriceRangeCountView]
    tags: list[FacetCountView]
    in_stock: int
    sold_out: int


class ChangeView(BaseModel):
    """The last change of a product; `product` is null if it was deleted."""

    product_id: str
    product: ProductView | None


class ChangesView(BaseModel):
    """A page of changes, oldest first."""

    changes: list[ChangeView]
    cursor: Annotated[
        str, Field(description="send it as `after` to read what changes from here on")
    ]
    complete: Annotated[bool, Field(description="false: the next page is not empty")]
