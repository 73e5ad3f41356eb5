"""FastAPI dependencies of the routes."""

from typing import Annotated

from bson import ObjectId
from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError

from app.errors import InvalidProductId
from app.models.page import PageRequest, PageStart
from app.models.product import ID_FORM, product_id_of
from app.models.search_query import SearchFilter
from app.schemas.product import SortOrder
from app.services.import_service import ImportService
from app.services.product_service import ProductService
from chassis.app.pagination import encode_cursor
from chassis.field_types import MoneyParameter, VisibleText


async def product_service(request: Request) -> ProductService:
    service: ProductService = request.app.state.products
    return service


async def import_service(request: Request) -> ImportService:
    service: ImportService = request.app.state.imports
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


async def _filter(
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
) -> SearchFilter:
    if min_price is not None and max_price is not None and min_price > max_price:
        message = "min_price must not be greater than max_price"
        error = {"loc": ("query", "min_price"), "msg": message, "type": "value_error"}
        raise RequestValidationError([error])
    return SearchFilter(category, min_price, max_price)


Filter = Annotated[SearchFilter, Depends(_filter)]


async def _catalogue_query(
    chosen: Filter,
    # The bound keeps the number of skipped products within what MongoDB can count.
    page: Annotated[
        int,
        Query(ge=1, le=1_000_000, description="ignored with `cursor`, which costs less"),
    ] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 10,
    sort: Annotated[SortOrder, Query(description="- means descending")] = "-created_at",
    cursor: Annotated[
        str | None,
        Query(
            max_length=1_000,
            description="from the `Link` header of a page",
            examples=[encode_cursor("2026-11-23T09:30:00.125+00:00", "665f1c2e9b1d4c3a2f8e7d60")],
        ),
    ] = None,
) -> PageRequest:
    after = None if cursor is None else PageStart.decode(cursor, sort)
    return PageRequest(chosen, sort, page, page_size, after)


Imports = Annotated[ImportService, Depends(import_service)]
Products = Annotated[ProductService, Depends(product_service)]
ProductId = Annotated[ObjectId, Depends(_product_id)]
CatalogueQuery = Annotated[PageRequest, Depends(_catalogue_query)]
