"""HTTP routes of orders: parse, call one service method, respond."""

from fastapi import APIRouter, Request, Response

from app.database import Reading, Transaction
from app.dependencies import (
    CurrentCaller,
    CustomerEmail,
    OrderId,
    Orders,
    Page,
    PageQuery,
)
from app.errors import (
    Busy,
    CannotCancel,
    CatalogueUnavailable,
    Forbidden,
    IdempotencyKeyReused,
    IdentityProviderUnavailable,
    InvalidTransition,
    InventoryUnavailable,
    MalformedId,
    OrderCancelled,
    OrderNotFound,
    OutcomeUnknown,
    OutOfStock,
    PlacingInterrupted,
    PriceChanged,
    ProductUnavailable,
    ProductUnknown,
    RequestInProgress,
    Unauthenticated,
)
from app.models.order import Order
from app.schemas.order import CancelIn, OrderIn, OrderOut, StatusIn
from app.services.order_service import CallerKey
from chassis.app.database_errors import DatabaseUnavailable
from chassis.app.idempotency import (
    REPLAYABLE,
    IdempotencyKey,
    InvalidIdempotencyKey,
    replay_headers,
)
from chassis.app.json_body import ExactJsonRoute, max_body
from chassis.app.pagination import InvalidCursor, encode_cursor, link_next
from chassis.problems import problem_responses

router = APIRouter(prefix="/api/orders", tags=["orders"], route_class=ExactJsonRoute)

MAX_ORDER_BYTES = 262_144
"""A hundred items with the longest names, each character escaped (`\\u65e5`)."""

COMMON = (Unauthenticated, Forbidden, IdentityProviderUnavailable, DatabaseUnavailable)


@router.post(
    "",
    status_code=201,
    response_model=OrderOut,
    summary="Place an order",
    openapi_extra=max_body(MAX_ORDER_BYTES),
    responses=problem_responses(
        *COMMON,
        OutOfStock,
        InvalidIdempotencyKey,
        ProductUnknown,
        PriceChanged,
        ProductUnavailable,
        OrderCancelled,
        RequestInProgress,
        IdempotencyKeyReused,
        InventoryUnavailable,
        CatalogueUnavailable,
        PlacingInterrupted,
        Busy,
        OutcomeUnknown,
    )
    | {201: REPLAYABLE},
)
async def place_order(
    order: OrderIn, key: IdempotencyKey, caller: CurrentCaller, orders: Orders
) -> Response:
    """Take the stock, confirm the order and have it announced.

    `unit_price` is the price that the customer saw: where it is not the catalogue's, the answer
    names the current one and nothing is ordered.

    201 means that the order stands. Any other answer means that none does, at once or within 30 s;
    only `outcome-unknown` leaves it open. Send an `Idempotency-Key` and a repeat of the request
    gives the first answer again instead of a second order, with `Idempotent-Replayed: true`. That
    answer says what the order was then; `GET /api/orders/{order_id}` says what it is now. Keys are
    kept for 24 hours.
    """
    caller.require_own(order.customer_email)
    caller_key = CallerKey(caller.principal(order.customer_email), key) if key else None
    placed = await orders.place(order, caller_key)
    headers = replay_headers(replayed=placed.replayed)
    return Response(placed.body, 201, headers, "application/json")


@router.get(
    "",
    response_model=list[OrderOut],
    summary="All orders",
    responses=problem_responses(*COMMON, InvalidCursor),
)
async def list_orders(
    page: PageQuery,
    caller: CurrentCaller,
    orders: Orders,
    connection: Reading,
    request: Request,
    response: Response,
) -> list[Order]:
    """Newest first; the next page is in the `Link` header. Customers may not see this list."""
    caller.require_admin()
    return await _page(orders, connection, page, request, response)


@router.get(
    "/me",
    response_model=list[OrderOut],
    summary="The caller's orders",
    responses=problem_responses(*COMMON, InvalidCursor),
)
async def my_orders(
    page: PageQuery,
    caller: CurrentCaller,
    orders: Orders,
    connection: Reading,
    request: Request,
    response: Response,
) -> list[Order]:
    """The orders of the token's e-mail address, newest first."""
    return await _page(orders, connection, page, request, response, caller.require_email())


@router.get(
    "/user/{email:path}",  # the server decodes %2F before it routes
    response_model=list[OrderOut],
    summary="One customer's orders",
    responses=problem_responses(*COMMON, MalformedId, InvalidCursor),
)
async def orders_of_customer(
    email: CustomerEmail,
    page: PageQuery,
    caller: CurrentCaller,
    orders: Orders,
    connection: Reading,
    request: Request,
    response: Response,
) -> list[Order]:
    """Newest first; upper and lower case are the same in an address."""
    caller.require_own(email)
    return await _page(orders, connection, page, request, response, email)


@router.get(
    "/{order_id}",
    response_model=OrderOut,
    summary="One order",
    responses=problem_responses(*COMMON, MalformedId, OrderNotFound),
)
async def read_order(
    order_id: OrderId, caller: CurrentCaller, orders: Orders, connection: Reading
) -> Order:
    """The order as it stands; a customer sees their own."""
    return await orders.get(connection, order_id, caller)


@router.patch(
    "/{order_id}/status",
    response_model=OrderOut,
    summary="Ship or deliver an order",
    responses=problem_responses(*COMMON, MalformedId, InvalidTransition, OrderNotFound),
)
async def change_status(
    order_id: OrderId,
    change: StatusIn,
    caller: CurrentCaller,
    orders: Orders,
    connection: Transaction,
) -> Order:
    """CONFIRMED → SHIPPED → DELIVERED, a step at a time. Cancelling has a call of its own."""
    return await orders.advance(connection, order_id, change.status, caller)


@router.patch(
    "/{order_id}/cancel",
    response_model=OrderOut,
    summary="Cancel an order",
    responses=problem_responses(*COMMON, MalformedId, CannotCancel, OrderNotFound),
)
async def cancel_order(
    order_id: OrderId,
    caller: CurrentCaller,
    orders: Orders,
    cancellation: CancelIn | None = None,
) -> OrderOut:
    """Cancel, and give the stock back. Doing it twice is the same as doing it once."""
    reason = cancellation.reason if cancellation else None
    return await orders.cancel(order_id, reason, caller)


async def _page(
    orders: Orders,
    connection: Reading,
    page: Page,
    request: Request,
    response: Response,
    email: str | None = None,
) -> list[Order]:
    shown, more = await orders.page(connection, page.limit, page.after, page.status, email)
    if more:
        last = shown[-1]
        cursor = encode_cursor(last.created_at.isoformat(), str(last.id))
        link_next(request, response, cursor)
    return shown
