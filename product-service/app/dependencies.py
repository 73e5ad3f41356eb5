"""FastAPI dependencies of the routes."""

from typing import Annotated

from bson import ObjectId
from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError

from app.errors import InvalidProductId
from app.models.product import ID_FORM, product_id_of
from app.repositories.product_repository import PageRequest
from app.schemas.product import SortOrder
from app.services.product_service import ProductService
from chassis.field_types import MoneyParameter, VisibleText


async def product_service(request: Request) -> ProductService:
    service: ProductService = request.app.state.products
    return service


async def _product_id(
    product_id: Annotated[
        str,
        Path(
            description="24 hexadecimal digits",
            examples=["665f1c2e9b1d4c3a2f8e7d60"],
            json_schema_extra={
                "pattern": f"^{ID_FORM}$"
            },  # documentation only: enforcing it would return 422
        ),
    ],
) -> ObjectId:
    found = product_id_of(product_id)
    if found is None:
        raise InvalidProductId(InvalidProductId.example)
    return found


async def _catalogue_query(
    # The bound keeps the number of skipped products within what MongoDB can count.
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 10,
    category: Annotated[
        VisibleText | None,
        Query(
            max_length=100,
            description="the full name of the category, ignoring case",
            examples=["Home"],
        ),
    ] = None,
    min_price: Annotated[MoneyParameter | None, Query(examples=[10])] = None,
    max_price: Annotated[MoneyParameter | None, Query(examples=[99.9])] = None,
    sort: Annotated[SortOrder, Query(description="- means descending")] = "-created_at",
) -> PageRequest:
    if min_price is not None and max_price is not None and min_price > max_price:
        message = "min_price must not be greater than max_price"
        error = {"loc": ("query", "min_price"), "msg": message, "type": "value_error"}
        raise RequestValidationError([error])
    return PageRequest(page, page_size, category, min_price, max_price, sort)


Products = Annotated[ProductService, Depends(product_service)]
ProductId = Annotated[ObjectId, Depends(_product_id)]
CatalogueQuery = Annotated[PageRequest, Depends(_catalogue_query)]
