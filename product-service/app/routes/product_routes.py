"""HTTP routes of the catalogue. A handler parses, calls one service method and returns."""

import hashlib
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response, status
from pydantic_core import to_json

from app.dependencies import CatalogueQuery, Filter, ProductId, Products
from app.errors import CatalogueUnavailable, InvalidProductId, ProductNotFound
from app.models.changes import Position
from app.models.product import Listing, Product
from app.models.search_query import SearchOrder
from app.schemas.product import (
    ChangesView,
    Deleted,
    FacetsView,
    ListingsView,
    NewProduct,
    PriceQuestion,
    ProductChanges,
    ProductPageView,
    ProductView,
    SuggestionsView,
    SuggestionView,
    product_view,
)
from chassis.app.conditional_requests import (
    ETAG_HEADER,
    NOT_MODIFIED,
    WITH_ETAG,
    Conditions,
    InvalidEntityTag,
    PreconditionFailed,
    Preconditions,
    not_modified,
)
from chassis.app.json_body import ExactJsonRoute, max_body
from chassis.app.pagination import InvalidCursor, link_next
from chassis.field_types import VisibleText
from chassis.problems import problem_responses

router = APIRouter(prefix="/api/products", tags=["products"], route_class=ExactJsonRoute)

MAX_PRODUCT_BYTES = 131_072
"""The longest description and tags, each character escaped (`\\u65e5`)."""

_SHARED = "public, max-age=1, stale-while-revalidate=10"
"""A list may be one second old, and up to ten while it is read again in the background."""

_AWAY = problem_responses(CatalogueUnavailable)
_LISTS: dict[int | str, Any] = {
    200: WITH_ETAG,
    304: NOT_MODIFIED,
    **problem_responses(InvalidEntityTag, PreconditionFailed, CatalogueUnavailable),
}
_ONE = problem_responses(
    InvalidProductId, InvalidEntityTag, ProductNotFound, PreconditionFailed, CatalogueUnavailable
)
_WITH_TOTAL: dict[str, Any] = {
    "headers": {
        **ETAG_HEADER,
        "X-Total-Count": {
            "description": "number of all results",
            "schema": {"type": "integer"},
        },
    }
}
SearchText = Annotated[
    VisibleText,
    Query(min_length=1, max_length=200, description="words", examples=["desk lamp"]),
]
_NEW: dict[str, Any] = {
    "lamp": {
        "summary": "A lamp",
        "value": {
            "name": "Walnut desk lamp",
            "description": "A warm light on a turned walnut stand.",
            "price": 49.9,
            "category": "Home",
            "tags": ["lamp", "walnut"],
            "image_url": "/api/products/images/walnut-desk-lamp.svg",
            "stock_quantity": 25,
        },
    }
}
_CHANGES: dict[str, Any] = {
    "price": {"summary": "A new price", "value": {"price": 44.9}},
    "stock": {"summary": "More of it", "value": {"stock_quantity": 40, "tags": ["lamp"]}},
}
_ASKED: dict[str, Any] = {
    "basket": {
        "summary": "A product, and an id that only inventory-service has",
        "value": {"product_ids": ["665f1c2e9b1d4c3a2f8e7d60", "gift-card"]},
    }
}


def _json(view: Any, headers: dict[str, str] | None = None) -> Response:
    """Return a response without validation: FastAPI would validate the stored data again."""
    return Response(to_json(view), media_type="application/json", headers=headers)


def _shared(
    view: Any, conditions: Preconditions, headers: dict[str, str] | None = None
) -> Response:
    """Return a response that a browser or CDN may keep for a moment and then revalidate."""
    content = to_json(view)
    tag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
    if conditions.is_not_modified(tag):
        response = not_modified(tag)
        response.headers["Cache-Control"] = _SHARED
        return response
    every = {"ETag": tag, "Cache-Control": _SHARED, **(headers or {})}
    return Response(content, media_type="application/json", headers=every)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=ProductView,
    summary="Create a product",
    responses={201: WITH_ETAG, **_AWAY},
    openapi_extra=max_body(MAX_PRODUCT_BYTES),
)
async def create(
    new: Annotated[NewProduct, Body(openapi_examples=_NEW)], products: Products, response: Response
) -> Product:
    """Add a product to the catalogue. Its stock is created at inventory-service."""
    product = await products.create(new)
    response.headers["ETag"] = product.entity_tag
    return product


@router.get(
    "",
    response_model=ProductPageView,
    summary="List products page by page",
    responses={
        **_LISTS,
        **problem_responses(
            InvalidCursor, InvalidEntityTag, PreconditionFailed, CatalogueUnavailable
        ),
    },
)
async def browse(
    query: CatalogueQuery, conditions: Conditions, products: Products, request: Request
) -> Response:
    """List products, newest first by default; `total` is the number of matching products.

    The `Link` header has the address of the next page. It contains a `cursor`, which costs the same
    on every page, and neither repeats nor skips products when others are added meanwhile.
    """
    page = await products.browse(query)
    views = [product_view(product) for product in page.products]
    rest = {"total": page.total, "page": page.page, "page_size": page.page_size}
    response = _shared({"products": views, **rest}, conditions)
    if len(page.products) == query.page_size:
        link_next(request, response, query.start_of_next(page.products[-1]).encode())
    return response


@router.get(
    "/search",
    response_model=list[ProductView],
    summary="Search products",
    responses={**_LISTS, 200: _WITH_TOTAL},
)
async def search(
    q: SearchText,
    chosen: Filter,
    conditions: Conditions,
    products: Products,
    in_stock: Annotated[
        bool | None,
        Query(description="true: only products with stock; false: only others", examples=[True]),
    ] = None,
    sort: Annotated[SearchOrder, Query(description="- means descending")] = "relevance",
    page: Annotated[int, Query(ge=1, le=1_000)] = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="products on a page")] = 20,
) -> Response:
    """Search name, tags, category and description, ignoring case and accents. Best match first.

    Order: exact name, names that begin with the words of `q`, names with all words, products with
    all words in any field. If no product has all words, products with some of them. A word also
    finds its singular or plural, longer words that contain it, and, if the catalogue does not have
    it, words with one spelling error (from 4 letters) or two (from 8).
    """
    wanted = replace(chosen, in_stock=in_stock)
    found = await products.search(q, wanted, sort, page, limit)
    views = [product_view(product) for product in found.products]
    return _shared(views, conditions, {"X-Total-Count": str(found.total)})


@router.get(
    "/suggest",
    response_model=SuggestionsView,
    summary="Complete a search text",
    responses=_LISTS,
)
async def suggest(q: SearchText, conditions: Conditions, products: Products) -> Response:
    """Return at most ten categories and product names for a text that is still being typed."""
    found = [SuggestionView.model_validate(one) for one in await products.suggest(q)]
    return _shared(SuggestionsView(suggestions=found), conditions)


@router.get(
    "/facets",
    response_model=FacetsView,
    summary="Count products by category, price, tag and stock",
    responses=_LISTS,
)
async def facets(
    chosen: Filter,
    conditions: Conditions,
    products: Products,
    q: Annotated[
        VisibleText | None,
        Query(
            min_length=1,
            max_length=200,
            description="as in the search; without: all products",
            examples=["desk lamp"],
        ),
    ] = None,
) -> Response:
    """Count the results of a search or all products.

    The numbers of the categories ignore `category`, and those of the price ranges ignore the prices
    of the filter: they say what another choice would find.
    """
    return _shared(await products.facets(q, chosen), conditions)


@router.get(
    "/changes",
    response_model=ChangesView,
    summary="Follow the changes of the catalogue",
    responses=problem_responses(InvalidCursor, CatalogueUnavailable),
)
async def changes(
    products: Products,
    after: Annotated[
        str | None,
        Query(
            max_length=1_000,
            description="`cursor` of the page before; `now`: only the cursor of the present",
            examples=["now", Position().encode()],
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 500,
) -> Response:
    """List products in the order of their last change; deleted ones have no `product`.

    A client that keeps a copy asks for the cursor of `now`, reads all products, and then reads the
    changes after that cursor. Without `after` the list begins with the oldest change. A change is
    listed about three seconds after it was made: no later one can then come before it. A product
    that changes again moves to the end.
    """
    if after == "now":
        page = await products.no_changes()
    else:
        start = Position() if after is None else Position.decode(after)
        page = await products.changes(start, limit)
    rows = [
        {
            "product_id": str(change.position.product_id),
            "product": None if change.product is None else product_view(change.product),
        }
        for change in page.changes
    ]
    return _json({"changes": rows, "cursor": page.next.encode(), "complete": page.complete})


@router.post(
    "/prices",
    response_model=ListingsView,
    summary="Look up many prices",
    responses=_AWAY,
    openapi_extra=max_body(131_072),  # a hundred ids of maximum length with escaped characters
)
async def prices(
    question: Annotated[PriceQuestion, Body(openapi_examples=_ASKED)], products: Products
) -> dict[str, list[Listing]]:
    """Return for each id `listed` with its current price and name, `deleted`, or `unknown`.

    Read-only. Texts that are not ids of this catalogue are `unknown`, not an error.
    """
    return {"prices": await products.listings(question.product_ids)}


@router.get(
    "/{product_id}",
    response_model=ProductView,
    summary="Read a product",
    responses={200: WITH_ETAG, 304: NOT_MODIFIED, **_ONE},
)
async def read(product_id: ProductId, conditions: Conditions, products: Products) -> Response:
    """Return a product; 404 if it is unknown or deleted.

    The `ETag` changes with each edit. Send it in `If-Match` with a change or deletion, so that it
    fails with 412 if another client has changed the product since.
    """
    product = await products.read(product_id)
    tag = product.entity_tag
    if conditions.is_not_modified(tag):
        return not_modified(tag)
    return _json(product_view(product), {"ETag": tag})


@router.put(
    "/{product_id}",
    response_model=ProductView,
    summary="Change a product",
    responses={200: WITH_ETAG, **_ONE},
    openapi_extra=max_body(MAX_PRODUCT_BYTES),
)
async def edit(
    product_id: ProductId,
    conditions: Conditions,
    changes: Annotated[ProductChanges, Body(openapi_examples=_CHANGES)],
    products: Products,
    response: Response,
) -> Product:
    """Change any subset of the fields; others are kept. Only `image_url` may be null.

    With `If-Match` the product is changed only if its current `ETag` is listed there; otherwise
    the response is 412.
    """
    product = await products.edit(product_id, changes, conditions)
    response.headers["ETag"] = product.entity_tag
    return product


@router.delete("/{product_id}", response_model=Deleted, summary="Delete a product", responses=_ONE)
async def delete(product_id: ProductId, conditions: Conditions, products: Products) -> Deleted:
    """Delete a product. Its id is never reused, and a price lookup returns `deleted`.

    With `If-Match` the product is deleted only if its current `ETag` is listed there; otherwise
    the response is 412.
    """
    product = await products.delete(product_id, conditions)
    return Deleted(message=f"Product {product.name} deleted successfully")
