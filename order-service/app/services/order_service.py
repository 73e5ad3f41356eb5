"""Place, read, cancel and advance orders.

docs/order-flow.md specifies placing and cancelling, crash by crash. Two rules hold throughout: a
response other than 201 means that no order stands, at once or within 30 s; and what another process
may have done is looked up or reversed by its key, never guessed.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from anyio import CapacityLimiter
from sqlalchemy.ext.asyncio import AsyncConnection

from app.authorization import Caller
from app.clients.inventory_client import InventoryClient, ReductionRefused, ReductionReversed
from app.config import Settings
from app.errors import (
    Busy,
    CannotCancel,
    IdempotencyKeyReused,
    InvalidTransition,
    InventoryUnavailable,
    OrderCancelled,
    OrderNotFound,
    OutcomeUnknown,
    PlacingInterrupted,
    RequestInProgress,
)
from app.events import ORDER_CANCELLED, ORDER_PLACED, order_cancelled, order_placed
from app.metrics import OrderMetrics
from app.models.order import CancelledBy, Order, OrderStatus
from app.repositories.idempotency_repository import Claim, IdempotencyRepository, StoredKey
from app.repositories.order_repository import OrderNumberTaken, OrderRepository, Place
from app.schemas.order import OrderIn, OrderOut
from app.services.order_factory import new_order
from app.services.pre_order_checks import PreOrderChecks
from chassis.app.idempotency import is_same_request, request_text
from chassis.failpoints import reach
from chassis.http_client.deadline import Deadline
from chassis.observability.tracing import span
from chassis.postgres.database import Database
from chassis.postgres.errors import DatabaseUnavailable
from chassis.postgres.outbox import add_event, event_row
from chassis.problems import Problem

log = logging.getLogger(__name__)

MAX_RETRY_AFTER = 30  # seconds
KEY_ATTEMPTS = 3
MINIMUM_TIME = 0.05  # seconds; an order cannot be placed in less


@dataclass(frozen=True, slots=True)
class CallerKey:
    """An Idempotency-Key and its owner. The same key of another principal is another key."""

    principal: str
    key: str


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """The body of a 201. `replayed`: it was stored by an earlier request with the same key."""

    body: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class PendingOrder:
    """A stored PENDING order; `saved_at` is the database's time, `monotonic` this process's."""

    order: Order
    saved_at: datetime
    monotonic: float


class OrderService:
    """Orders and their saga. No transaction is open during a call to another service."""

    def __init__(
        self,
        database: Database,
        inventory: InventoryClient,
        checks: PreOrderChecks,
        settings: Settings,
        metrics: OrderMetrics,
        *,
        order_repository: Callable[[AsyncConnection], OrderRepository] = OrderRepository,
        key_repository: Callable[
            [AsyncConnection, float], IdempotencyRepository
        ] = IdempotencyRepository,
    ) -> None:
        self._database = database
        self._repository = order_repository
        self._key_repository = key_repository
        self._inventory = inventory
        self._checks = checks
        self._settings = settings
        self._metrics = metrics
        # Bulkhead (ADR 1). Without it, 200 concurrent buyers of 10 pieces all pass the stock check
        # before the first reduction, and each costs two databases a refused transaction.
        self._limiter = CapacityLimiter(settings.place_concurrency)

    # -- placing

    async def place(self, request: OrderIn, key: CallerKey | None) -> PlacedOrder:
        """Place an order, or return the stored response of its key.

        Raises:
            ProductUnknown, PriceChanged, ProductUnavailable, OutOfStock: refused; no order stands,
                and the key may be used again.
            RequestInProgress, IdempotencyKeyReused, OrderCancelled: the state of the key.
            CatalogueUnavailable: no order stands.
            InventoryUnavailable, PlacingInterrupted, DatabaseUnavailable, Busy: no order stands, or
                it is cancelled within 30 s.
            OutcomeUnknown: the database was lost during COMMIT; the same key tells the outcome.
        """
        deadline = Deadline.after(self._settings.place_deadline)
        try:
            async with self._admission(deadline):
                placed = await self._place(request, key, deadline)
        except (Problem, DatabaseUnavailable) as error:
            self._metrics.count_placing(type(error).__name__)
            raise
        self._metrics.count_placing("replayed" if placed.replayed else "confirmed")
        if not placed.replayed:
            self._metrics.count_value(request.total_amount)
        return placed

    async def _place(  # noqa: C901  the saga reads top to bottom
        self, request: OrderIn, key: CallerKey | None, deadline: Deadline
    ) -> PlacedOrder:
        """Run the six steps of docs/order-flow.md, each with its compensation."""
        # 1. Replay: return the stored response of the key.
        if (stored := await self._find_stored_response(request, key)) is not None:
            return stored

        # 2. Check prices and stock. Nothing is stored yet.
        try:
            names = await self._checks.run(request, deadline)
        except Problem:
            # A concurrent request with the same key may have placed the order meanwhile.
            if (stored := await self._find_stored_response(request, key)) is not None:
                return stored
            raise

        # 3. Save the order as PENDING, with its key and a lease, in one transaction.
        pending = await self._save_pending(request, names, key, deadline)
        if isinstance(pending, PlacedOrder):
            return pending  # another request with the same key was faster
        order_id = pending.order.id
        reach("placing.saved")

        # 4. Reduce the stock: all items or none, with the order's id as key.
        try:
            await self._inventory.reduce(order_id, request.pieces, deadline)
        except ReductionRefused as refused:
            reach("placing.reduced")
            if await self._cancel_pending(order_id, stock_debt=refused.maybe_reduced):
                raise refused.problem from None
            return await self._find_outcome(order_id)
        except ReductionReversed:
            return await self._find_outcome(order_id)
        except InventoryUnavailable:
            # The stock may have been reduced: the recovery loop reverses it.
            if await self._cancel_pending(order_id, stock_debt=True):
                raise
            return await self._find_outcome(order_id)
        reach("placing.reduced")

        # 5. Confirm: CONFIRMED, the event and the stored response, in one transaction.
        try:
            placed = await self._confirm(pending)
        except DatabaseUnavailable:
            # The connection was lost during COMMIT. The conditional cancellation tells whether the
            # order was confirmed.
            log.warning("commit outcome unknown", extra={"order_id": str(order_id)})
            try:
                if not await self._cancel_pending(order_id, stock_debt=True):
                    return await self._find_outcome(order_id)
            except DatabaseUnavailable as lost:
                raise OutcomeUnknown(OutcomeUnknown.example) from lost
            raise

        # 6. Respond after the commit. Without a confirmation, the order was cancelled meanwhile.
        return placed or await self._find_outcome(order_id)

    @asynccontextmanager
    async def _admission(self, deadline: Deadline) -> AsyncIterator[None]:
        """Wait for one of `place_concurrency` slots, in order of arrival.

        Raises:
            Busy: no slot before the deadline, or too little time left to place an order.
        """
        try:
            async with deadline.enforce():
                await self._limiter.acquire()
        except TimeoutError:
            raise Busy(Busy.example) from None
        try:
            if deadline.remaining() < MINIMUM_TIME:
                raise Busy(Busy.example)
            yield
        finally:
            self._limiter.release()

    async def _find_stored_response(
        self, request: OrderIn, key: CallerKey | None
    ) -> PlacedOrder | None:
        """Return the stored response of the key, or None if the key is free.

        Raises:
            RequestInProgress, IdempotencyKeyReused, OrderCancelled: the state of the key.
        """
        if key is None:
            return None
        async with self._database.connection() as connection:
            stored = await self._keys(connection).find(key.principal, key.key)
        return _stored_response(stored, request) if stored else None

    async def _save_pending(
        self,
        request: OrderIn,
        names: dict[str, str],
        key: CallerKey | None,
        deadline: Deadline,
    ) -> PendingOrder | PlacedOrder:
        """Insert the order and its key; return the stored response if another request has the key.

        Raises:
            PlacingInterrupted: the deadline has passed.
            RequestInProgress: the key changed hands several times.
        """
        order = new_order(request, names)
        attempt = 0
        while attempt < KEY_ATTEMPTS:
            if deadline.expired:
                # The client may have timed out and sent its retry already: store nothing.
                raise PlacingInterrupted(PlacingInterrupted.example)
            try:
                saved_at = await self._insert(order, request, key)
            except OrderNumberTaken:
                log.info("order number taken, retrying with a new one")
                order = new_order(request, names)
                continue
            if saved_at is not None:
                return PendingOrder(order, saved_at, time.monotonic())
            if (stored := await self._find_stored_response(request, key)) is not None:
                return stored
            attempt += 1  # the other request was refused and has released the key
        raise RequestInProgress(RequestInProgress.example, headers={"Retry-After": "1"})

    async def _insert(
        self, order: Order, request: OrderIn, key: CallerKey | None
    ) -> datetime | None:
        claim = None
        if key is not None:
            hours = self._settings.idempotency_hours
            claim = Claim(key.principal, key.key, request_text(request), hours)
        async with self._database.connection() as connection:
            lease = self._settings.lease_seconds
            return await self._repository(connection).add_pending(order, lease, claim)

    async def _cancel_pending(self, order_id: UUID, *, stock_debt: bool) -> bool:
        """Cancel the order and release its key. Return False if it is no longer PENDING.

        Args:
            stock_debt: the stock may have been reduced; the recovery loop must reverse it.
        """
        async with self._database.transaction() as connection:
            cancelled = await self._repository(connection).cancel_pending(
                order_id, CancelledBy.PLACING, stock_debt=stock_debt
            )
            if cancelled:
                await self._keys(connection).release(order_id)
        reach("placing.given_up")
        return cancelled

    async def _confirm(self, pending: PendingOrder) -> PlacedOrder | None:
        """Write CONFIRMED, the event and the stored response. None if no longer PENDING."""
        order = pending.order
        elapsed = timedelta(seconds=time.monotonic() - pending.monotonic)
        order.status = OrderStatus.CONFIRMED
        order.created_at = pending.saved_at
        order.updated_at = pending.saved_at + elapsed  # the database's clock, without asking it
        body = OrderOut.model_validate(order).model_dump_json()
        attributes = {"order.number": order.order_number}
        with span("confirm order", attributes=attributes, expected=Problem):
            async with self._database.connection() as connection:
                # Made here, so that the event continues the trace of this transaction.
                event = event_row(ORDER_PLACED, str(order.id), order_placed(order))
                orders = self._repository(connection)
                confirmed = await orders.confirm(order.id, order.updated_at, body, event)
        if not confirmed:
            return None
        reach("placing.confirmed")
        return PlacedOrder(body)

    async def _find_outcome(self, order_id: UUID) -> PlacedOrder:
        """Return or raise what became of an order that is no longer PENDING.

        Raises:
            OrderCancelled: its customer cancelled it.
            PlacingInterrupted: the recovery loop cancelled it.
        """
        async with self._database.connection() as connection:
            order = await self._find(connection, order_id)
        if order.status != OrderStatus.CANCELLED:
            return PlacedOrder(OrderOut.model_validate(order).model_dump_json())
        if order.cancelled_by == CancelledBy.CALLER:
            raise OrderCancelled(OrderCancelled.example)
        raise PlacingInterrupted(PlacingInterrupted.example)

    def _keys(self, connection: AsyncConnection) -> IdempotencyRepository:
        return self._key_repository(connection, self._settings.idempotency_hours)

    # -- cancelling

    async def cancel(self, order_id: UUID, reason: str | None, caller: Caller) -> OrderOut:
        """Cancel a PENDING or CONFIRMED order; a CANCELLED one is returned as it is.

        The stock is returned at once, or within 30 s after inventory is available again: the
        cancelling transaction stores the debt, and the recovery loop pays it.

        Raises:
            CannotCancel: the order was shipped or delivered.
        """
        deadline = Deadline.after(self._settings.place_deadline)
        async with self._database.transaction() as connection:
            # FOR UPDATE: the status decides whether an event is sent, so it must not change before
            # the cancellation commits.
            order = await self._find(connection, order_id, for_update=True)
            caller.require_own(order.customer_email)
            if order.status == OrderStatus.CANCELLED:
                return OrderOut.model_validate(order)
            if not order.status.can_be_cancelled:
                raise CannotCancel(f"Cannot cancel an order that is {order.status}.")
            confirmed = order.status == OrderStatus.CONFIRMED
            lease = self._settings.lease_seconds
            order.updated_at = await self._repository(connection).cancel(order_id, reason, lease)
            order.status = OrderStatus.CANCELLED
            order.cancelled_by = CancelledBy.CALLER
            order.cancel_reason = reason
            if confirmed:
                event = order_cancelled(order)
                await add_event(connection, topic=ORDER_CANCELLED, key=str(order.id), event=event)
        reach("cancelling.committed")
        await self._return_stock(order_id, deadline)
        return OrderOut.model_validate(order)

    async def _return_stock(self, order_id: UUID, deadline: Deadline) -> None:
        try:
            await self._inventory.reverse(order_id, deadline)
            reach("cancelling.reversed")
            async with self._database.connection() as connection:
                await self._repository(connection).clear_debt(order_id)
        except (InventoryUnavailable, DatabaseUnavailable):
            log.warning("stock not returned yet", extra={"order_id": str(order_id)})

    # -- reading and advancing, on the caller's connection

    async def get(self, connection: AsyncConnection, order_id: UUID, caller: Caller) -> Order:
        """Return an order that the caller may see.

        Raises:
            OrderNotFound, Forbidden
        """
        order = await self._find(connection, order_id)
        caller.require_own(order.customer_email)
        return order

    async def page(
        self,
        connection: AsyncConnection,
        limit: int,
        after: Place | None,
        status: OrderStatus | None,
        email: str | None,
    ) -> tuple[list[Order], bool]:
        """Return up to `limit` orders, newest first, and whether there are more."""
        found = await self._repository(connection).page(
            limit=limit + 1, after=after, status=status, email=email
        )
        return found[:limit], len(found) > limit

    async def advance(
        self, connection: AsyncConnection, order_id: UUID, status: OrderStatus, caller: Caller
    ) -> Order:
        """Ship or deliver an order. Of two concurrent changes, one is refused.

        Raises:
            InvalidTransition: the order is not in the status before.
        """
        caller.require_admin()
        before = status.before
        advanced = before is not None and await self._repository(connection).advance(
            order_id, before, status
        )
        order = await self.get(connection, order_id, caller)
        if not advanced:
            raise InvalidTransition(f"An order that is {order.status} cannot become {status}.")
        return order

    async def _find(
        self, connection: AsyncConnection, order_id: UUID, *, for_update: bool = False
    ) -> Order:
        order = await self._repository(connection).get(order_id, for_update=for_update)
        if order is None:
            raise OrderNotFound(f"There is no order {order_id}.")
        return order


def _stored_response(stored: StoredKey, request: OrderIn) -> PlacedOrder:
    """Return the response stored under a key, or raise the state of the key."""
    if not is_same_request(stored.request, request):
        raise IdempotencyKeyReused(IdempotencyKeyReused.example)
    if stored.answer is not None:
        return PlacedOrder(stored.answer, replayed=True)
    if stored.order_status == OrderStatus.PENDING:
        seconds = min(MAX_RETRY_AFTER, max(1, round(stored.lease_left.total_seconds())))
        raise RequestInProgress(RequestInProgress.example, headers={"Retry-After": str(seconds)})
    raise OrderCancelled(OrderCancelled.example)
