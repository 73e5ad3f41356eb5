"""Placing an order: a small saga. docs/order-flow.md is exact, crash by crash.

Two rules hold throughout. An answer other than 201 means that no order stands, at once or within
30 s. And what another process may have done is found out or undone by its key, never guessed.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.clients.inventory_client import AlreadyReversed, Refused
from app.clients.peers import Peers
from app.config import Settings
from app.errors import (
    Busy,
    IdempotencyKeyReused,
    InventoryUnavailable,
    OrderCancelled,
    OrderNotFound,
    OutcomeUnknown,
    PlacingInterrupted,
    RequestInProgress,
)
from app.events import ORDER_PLACED, order_placed
from app.metrics import OrderMetrics
from app.models.order import CancelledBy, Order, OrderStatus
from app.repositories.idempotency_repository import Claim, IdempotencyRepository, StoredKey
from app.repositories.order_repository import OrderNumberTaken, OrderRepository
from app.schemas.order import OrderIn, OrderOut
from app.services.availability import Stock
from app.services.order_factory import new_order
from app.services.pre_order_checks import OrderCheck
from app.services.price_validation import ListPrices
from chassis.app.idempotency import is_same_request, request_text
from chassis.failpoints import reach
from chassis.http_client.deadline import Deadline
from chassis.observability.tracing import span
from chassis.postgres.database import Database
from chassis.postgres.errors import DatabaseUnavailable
from chassis.postgres.outbox import event_row
from chassis.problems import Problem

log = logging.getLogger(__name__)

MAX_RETRY_AFTER = 30
CLAIM_ATTEMPTS = 3
LEAST_TURN = 0.05  # seconds; in less nothing can be placed


@dataclass(frozen=True, slots=True)
class CallerKey:
    """An Idempotency-Key, and whose it is: the same text from somebody else is another key."""

    principal: str
    key: str


@dataclass(frozen=True, slots=True)
class Placed:
    """The 201's body, as stored under the key; `replayed` if an earlier request earned it."""

    body: str
    replayed: bool = False


class DatabaseClock:
    """The database's time: told once, and counted on from there without asking again."""

    def __init__(self, told: datetime) -> None:
        self._told = told
        self._heard = time.monotonic()

    def confirm(self, order: Order) -> None:
        """Give a saved order the status and the times of a confirmation now."""
        now = self._told + timedelta(seconds=time.monotonic() - self._heard)
        order.status, order.created_at, order.updated_at = OrderStatus.CONFIRMED, self._told, now


class OrderPlacing:
    """Steps 1 to 6 of placing. No transaction is open during a call to another service."""

    def __init__(
        self,
        database: Database,
        peers: Peers,
        settings: Settings,
        metrics: OrderMetrics,
    ) -> None:
        self._database = database
        self._stock = Stock(peers.inventory, settings, metrics)
        self._check = OrderCheck(self._stock, ListPrices(peers.catalogue, settings, metrics))
        self._settings = settings
        self._metrics = metrics
        # Two hundred buyers of ten pieces: let in all at once they would all pass the check before
        # the first reduction, and each cost two databases a refusal. In turn, most cost one check.
        self._turns = asyncio.Semaphore(settings.place_concurrency)

    async def place(self, request: OrderIn, key: CallerKey | None) -> Placed:
        """Place an order, or find the answer that its key has already earned.

        Raises:
            ProductUnknown, PriceChanged, ProductUnavailable, OutOfStock: refused; nothing stands
                and the key may try again.
            RequestInProgress, IdempotencyKeyReused, OrderCancelled: the key's own state.
            CatalogueUnavailable: nothing stands.
            InventoryUnavailable, PlacingInterrupted, DatabaseUnavailable, Busy: nothing stands, or
                it is undone within 30 s.
            OutcomeUnknown: the database went away at COMMIT; the same key will tell.
        """
        deadline = Deadline.after(self._settings.place_deadline)
        try:
            async with self._turn(deadline):
                placed = await self._place(request, key, deadline)
        except (Problem, DatabaseUnavailable) as problem:
            self._metrics.count_placing(type(problem).__name__)
            raise
        self._metrics.count_placing("replayed" if placed.replayed else "confirmed")
        if not placed.replayed:
            self._metrics.count_value(request.total_amount)
        return placed

    @asynccontextmanager
    async def _turn(self, deadline: Deadline) -> AsyncIterator[None]:
        try:
            async with deadline.enforce():
                await self._turns.acquire()
        except TimeoutError:
            raise Busy(Busy.example) from None
        try:
            if deadline.remaining() < LEAST_TURN:
                raise Busy(Busy.example)
            yield
        finally:
            self._turns.release()

    async def _place(self, request: OrderIn, key: CallerKey | None, deadline: Deadline) -> Placed:
        if (answered := await self._answered(request, key)) is not None:  # step 1
            return answered
        try:
            names = await self._check.check(request, deadline)  # step 2
        except Problem:
            # The key's twin may have passed meanwhile: its order stands, so this cannot refuse.
            if (answered := await self._answered(request, key)) is not None:
                return answered
            raise
        while True:
            order = new_order(request, names)
            try:
                saved = await self._save_pending(order, request, key, deadline)  # step 3
                break
            except OrderNumberTaken:
                log.info("order number taken, drawing another one")
        if isinstance(saved, Placed):
            return saved
        return await self._reduce(order, request, saved, deadline)

    # step 1

    async def _answered(self, request: OrderIn, key: CallerKey | None) -> Placed | None:
        """The stored answer of the key; None if the key is free. Raises the key's own problems."""
        if key is None:
            return None
        async with self._database.connection() as connection:
            stored = await self._keys(connection).find(key.principal, key.key)
        return _answer_of(stored, request) if stored else None

    # step 3

    async def _save_pending(
        self, order: Order, request: OrderIn, key: CallerKey | None, deadline: Deadline
    ) -> DatabaseClock | Placed:
        """Store the order and its key. An answer instead, if another request won the key."""
        for _ in range(CLAIM_ATTEMPTS):
            if deadline.expired:
                # Its client has given up and may already have retried: nothing is stored now.
                raise PlacingInterrupted(PlacingInterrupted.example)
            if (saved_at := await self._try_save(order, request, key)) is not None:
                reach("placing.saved")
                return DatabaseClock(saved_at)
            if (answered := await self._answered(request, key)) is not None:
                return answered
            # The winner was refused and has let go of the key: it is ours to try again.
        raise RequestInProgress(RequestInProgress.example, headers={"Retry-After": "1"})

    async def _try_save(
        self, order: Order, request: OrderIn, key: CallerKey | None
    ) -> datetime | None:
        claim, hours = None, self._settings.idempotency_hours
        if key is not None:
            claim = Claim(key.principal, key.key, request_text(request), hours)
        async with self._database.connection() as connection:
            lease = self._settings.lease_seconds
            return await OrderRepository(connection).add_pending(order, lease, claim)

    # step 4

    async def _reduce(
        self, order: Order, request: OrderIn, clock: DatabaseClock, deadline: Deadline
    ) -> Placed:
        try:
            refused = await self._stock.reduce(order.id, request.pieces, deadline)
        except AlreadyReversed:
            return await self._find_out(order.id)
        except InventoryUnavailable as problem:
            return await self._give_up(order.id, problem)
        reach("placing.reduced")
        if refused is None:
            return await self._confirm(order, clock)
        return await self._refuse(order.id, refused)

    async def _refuse(self, order_id: UUID, refused: Refused) -> Placed:
        if await self._cancel(order_id, stock_debt=refused.maybe_taken):
            raise refused.problem
        return await self._find_out(order_id)

    async def _give_up(self, order_id: UUID, problem: Exception) -> Placed:
        """Whether the stock was taken is not known: cancel, and owe inventory the reverse."""
        if await self._cancel(order_id, stock_debt=True):
            raise problem
        return await self._find_out(order_id)

    async def _cancel(self, order_id: UUID, *, stock_debt: bool) -> bool:
        async with self._database.transaction() as connection:
            orders = OrderRepository(connection)
            done = await orders.cancel_pending(order_id, CancelledBy.PLACING, stock_debt=stock_debt)
            if done:
                await self._keys(connection).release(order_id)
        reach("placing.given_up")
        return done

    # step 5

    async def _confirm(self, order: Order, clock: DatabaseClock) -> Placed:
        clock.confirm(order)
        body = OrderOut.model_validate(order).model_dump_json()
        try:
            about = {"order.number": order.order_number}
            with span("confirm order", attributes=about, expected=Problem):
                done = await self._commit_confirmation(order, body)
        except DatabaseUnavailable as lost:
            return await self._after_lost_commit(order.id, lost)
        return Placed(body) if done else await self._find_out(order.id)

    async def _commit_confirmation(self, order: Order, body: str) -> bool:
        """CONFIRMED, the event and the stored answer, in one statement; False if too late."""
        async with self._database.connection() as connection:
            orders = OrderRepository(connection)
            event = event_row(ORDER_PLACED, str(order.id), order_placed(order))
            done = await orders.confirm(order.id, order.updated_at, body, event)
        if done:
            reach("placing.confirmed")
        return done

    async def _after_lost_commit(self, order_id: UUID, lost: DatabaseUnavailable) -> Placed:
        """The connection broke at COMMIT: it may have happened. The guard of the cancel tells."""
        log.warning("outcome of a commit not known", extra={"order_id": str(order_id)})
        try:
            return await self._give_up(order_id, lost)
        except DatabaseUnavailable as gone:
            if gone is lost:
                raise
            raise OutcomeUnknown(OutcomeUnknown.example) from gone

    async def _find_out(self, order_id: UUID) -> Placed:
        """The order is PENDING no more and this request did not end it: say what became of it."""
        async with self._database.connection() as connection:
            order = await OrderRepository(connection).get(order_id)
        if order is None:
            raise OrderNotFound(f"There is no order {order_id}.")
        if order.status != OrderStatus.CANCELLED:
            return Placed(OrderOut.model_validate(order).model_dump_json())
        if order.cancelled_by == CancelledBy.CALLER:
            raise OrderCancelled(OrderCancelled.example)
        raise PlacingInterrupted(PlacingInterrupted.example)

    def _keys(self, connection: AsyncConnection) -> IdempotencyRepository:
        return IdempotencyRepository(connection, self._settings.idempotency_hours)


def _answer_of(stored: StoredKey, request: OrderIn) -> Placed:
    if not is_same_request(stored.request, request):
        raise IdempotencyKeyReused(IdempotencyKeyReused.example)
    if stored.answer is not None:
        return Placed(stored.answer, replayed=True)
    if stored.order_status == OrderStatus.PENDING:
        seconds = min(MAX_RETRY_AFTER, max(1, round(stored.lease_left.total_seconds())))
        raise RequestInProgress(RequestInProgress.example, headers={"Retry-After": str(seconds)})
    raise OrderCancelled(OrderCancelled.example)
