"""/api/inventory. A route parses, calls one service method and returns."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.dependencies import Inventory, Reader, Stock, reader_of, stock_of
from app.errors import (
    IdempotencyKeyReused,
    InsufficientStock,
    InvalidProductId,
    MissingIdempotencyKey,
    MovementReversed,
    ProductAlreadyExists,
    ReservedExceedsQuantity,
    StockLimitExceeded,
    UnknownProduct,
)
from app.models.inventory import entity_tag
from app.path_params import (
    KeyedProductId,
    PageStart,
    PathMovementKey,
    PathProductId,
    RequiredKey,
    next_cursor,
)
from app.schemas.inventory import (
    MAX_STOCK,
    Amount,
    Availability,
    Item,
    ItemChanges,
    Message,
    NewItem,
    Reduction,
    ReductionLine,
    Reversal,
    StoredState,
)
from app.services.stock_service import Answer
from chassis.app.conditional_requests import (
    NOT_MODIFIED,
    WITH_ETAG,
    Conditions,
    InvalidEntityTag,
    PreconditionFailed,
    not_modified,
)
from chassis.app.database_errors import DatabaseUnavailable
from chassis.app.idempotency import (
    REPLAYABLE,
    IdempotencyKey,
    InvalidIdempotencyKey,
    replay_headers,
)
from chassis.app.json_body import ExactJsonRoute, max_body
from chassis.app.pagination import InvalidCursor, PageLimit, link_next
from chassis.problems import problem_responses

items = APIRouter(prefix="/api/inventory", tags=["inventory"], route_class=ExactJsonRoute)
movements = APIRouter(prefix="/api/inventory", tags=["movements"], route_class=ExactJsonRoute)

_ONE_ITEM = (InvalidProductId, UnknownProduct, DatabaseUnavailable)
_CONDITIONAL = (*_ONE_ITEM, InvalidEntityTag, PreconditionFailed)
_KEYED = (InvalidIdempotencyKey, MovementReversed, IdempotencyKeyReused)
_REPLAYABLE_ITEM = {"headers": WITH_ETAG["headers"] | REPLAYABLE["headers"]}


def _json(text: str) -> Response:
    """An answer that is JSON already: FastAPI would validate it anew before it writes it."""
    return Response(text, media_type="application/json")


def _tagged(item: Item, response: Response) -> Item:
    """The item of a response, which gets the ETag of that state."""
    response.headers["ETag"] = entity_tag(item)
    return item


def _stored(answer: Answer, **headers: str) -> Response:
    """Send a stored answer as it is: it may have been written by a release with other fields."""
    headers |= replay_headers(replayed=answer.replayed)
    return Response(answer.body, headers=headers, media_type="application/json")


def _stored_item(answer: Answer) -> Response:
    """Send the only item of a stored list, with the ETag of that state."""
    item = json.loads(answer.body)[0]
    body = json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    return _stored(Answer(body, answer.replayed), ETag=entity_tag(StoredState(**item)))


@items.post(
    "",
    status_code=201,
    summary="Begin to keep stock of a product",
    responses={201: WITH_ETAG, **problem_responses(ProductAlreadyExists, DatabaseUnavailable)},
)
async def create_item(new: NewItem, inventory: Inventory, response: Response) -> Item:
    """Each product has one item. Creating one that is low from the start is no low-stock event."""
    return _tagged(await inventory.create(new), response)


@items.get(
    "",
    summary="All items, page by page",
    responses=problem_responses(InvalidCursor, DatabaseUnavailable),
)
async def list_items(
    request: Request, response: Response, reader: Reader, after: PageStart, limit: PageLimit = 50
) -> list[Item]:
    """In the order of product ids. A `Link` header with `rel="next"` names the next page."""
    page, following = await reader.page(after, limit)
    if following is not None:
        link_next(request, response, next_cursor(following))
    return page


@items.get(
    "/{product_id}",
    summary="One item",
    response_model=Item,
    responses={200: WITH_ETAG, 304: NOT_MODIFIED, **problem_responses(*_CONDITIONAL)},
)
async def get_item(
    product_id: PathProductId, conditions: Conditions, reader: Reader, response: Response
) -> Item | Response:
    """Quantity, reserved quantity and available quantity of a product.

    The `ETag` changes with each change and each stock movement. Send it in `If-Match` with a PUT
    or DELETE, so that it fails with 412 if pieces were sold or added since.
    """
    item = await reader.get(product_id)
    tag = entity_tag(item)
    return not_modified(tag) if conditions.is_not_modified(tag) else _tagged(item, response)


@items.get(
    "/{product_id}/check",
    summary="Is there enough?",
    response_model=Availability,
    responses=problem_responses(*_ONE_ITEM),
)
async def check_item(
    request: Request,
    product_id: PathProductId,
    quantity: Annotated[int, Query(gt=0, le=MAX_STOCK, description="pieces wanted", examples=[2])],
) -> Response:
    """Advice only: another buyer may come first. A reduction decides."""
    return _json((await reader_of(request).check(product_id, quantity)).model_dump_json())


@items.put(
    "/{product_id}",
    summary="Set name, quantity or reserved quantity",
    responses={200: WITH_ETAG, **problem_responses(*_CONDITIONAL, ReservedExceedsQuantity)},
)
async def update_item(
    product_id: PathProductId,
    conditions: Conditions,
    changes: ItemChanges,
    inventory: Inventory,
    response: Response,
) -> Item:
    """Fields that are left out stay as they are. A fall below the threshold is announced.

    **A `quantity` replaces the count, including orders that arrived after it was read.** To add
    delivered pieces, use `restock`. To store a counted quantity, send the item's `ETag` in
    `If-Match`: the response is 412 if the stock has changed since.
    """
    return _tagged(await inventory.update(product_id, changes, conditions), response)


@items.delete(
    "/{product_id}", summary="Stop keeping stock", responses=problem_responses(*_CONDITIONAL)
)
async def delete_item(
    product_id: PathProductId, conditions: Conditions, inventory: Inventory
) -> Message:
    """Its pieces are written off in the ledger; the product may be created again later.

    With `If-Match` the item is deleted only if its current `ETag` is listed there; otherwise the
    response is 412.
    """
    return await inventory.delete(product_id, conditions)


@movements.patch(
    "/reduce",
    summary="Take several products, all or none",
    openapi_extra=max_body(131_072),  # a hundred of the longest ids, each character escaped
    response_model=list[Item],
    responses=problem_responses(
        UnknownProduct, InsufficientStock, MissingIdempotencyKey, *_KEYED, DatabaseUnavailable
    )
    | {200: REPLAYABLE},
)
async def reduce_items(request: Request, reduction: Reduction, key: RequiredKey) -> Response:
    """One transaction. The key, such as an order's id, names it for repeats and for its reversal:
    the same key with the same items gives the first answer again and takes nothing more. A refused
    reduction is not stored, so its key may try again."""
    return _stored(await stock_of(request).reduce(reduction.items, key, reduction.options))


@movements.post(
    "/movements/{key}/reverse",
    summary="Give back what a reduction took",
    response_model=Reversal,
    responses=problem_responses(InvalidIdempotencyKey, DatabaseUnavailable) | {200: REPLAYABLE},
)
async def reverse_movement(key: PathMovementKey, stock: Stock) -> Response:
    """Once: a repeat gives the same answer. A key that was never seen returns nothing and is
    refused from now on. Products deleted meanwhile are left out."""
    return _stored(await stock.reverse(key))


@movements.patch(
    "/{product_id}/reduce",
    summary="Take some pieces of one product",
    response_model=Item,
    responses=problem_responses(*_ONE_ITEM, InsufficientStock, *_KEYED) | {200: _REPLAYABLE_ITEM},
)
async def reduce_item(
    product_id: KeyedProductId, amount: Amount, key: IdempotencyKey, stock: Stock
) -> Response:
    """As the reduction of several products, with one. The key is optional here."""
    line = ReductionLine.model_construct(product_id=product_id, quantity=amount.quantity)
    return _stored_item(await stock.reduce([line], key, amount.options))


@movements.patch(
    "/{product_id}/restock",
    summary="Add pieces of one product",
    response_model=Item,
    responses=problem_responses(*_ONE_ITEM, StockLimitExceeded, *_KEYED) | {200: _REPLAYABLE_ITEM},
)
async def restock_item(
    product_id: KeyedProductId, amount: Amount, key: IdempotencyKey, stock: Stock
) -> Response:
    """With a key, once. An item holds at most a thousand million pieces.

    This is the call for a delivery: it adds to the current count, whatever was sold meanwhile.
    """
    return _stored_item(await stock.restock(product_id, amount.quantity, key, amount.options))
