"""OrderService on fakes: no database, no HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from app.authorization import Caller
from app.clients.inventory_client import ReductionRefused, ReductionReversed
from app.config import Settings
from app.errors import (
    Busy,
    CannotCancel,
    Forbidden,
    IdempotencyKeyReused,
    InvalidTransition,
    InventoryUnavailable,
    OrderCancelled,
    OrderNotFound,
    OutcomeUnknown,
    OutOfStock,
    PlacingInterrupted,
    PriceChanged,
    RequestInProgress,
)
from app.metrics import OrderMetrics
from app.models.order import CancelledBy, Order, OrderItem, OrderStatus
from app.repositories.idempotency_repository import Claim, StoredKey
from app.repositories.order_repository import OrderNumberTaken
from app.schemas.order import OrderIn, OrderOut
from app.services.order_service import CallerKey, OrderService
from chassis.postgres.errors import DatabaseUnavailable
from chassis.security.token_verifier import Identity
from tests.conftest import order_of

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
KEY = CallerKey("sub:alice", "key-1")
ADMIN = Caller(Identity("root", None, frozenset({"admin"}), 0))
ALICE = Caller(Identity("alice", "alice@example.com", frozenset(), 0))
BOB = Caller(Identity("bob", "bob@example.com", frozenset(), 0))


@dataclass
class Store:
    """State of a database in memory, and faults of the next statements."""

    orders: dict[UUID, Order] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, UUID]] = field(default_factory=dict)
    answers: dict[UUID, str] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    debts: set[UUID] = field(default_factory=set)
    numbers_taken: int = 0
    lose_commit: bool = False  # the confirmation is committed and its reply is lost
    fail_confirm: bool = False  # the confirmation is not committed
    unavailable: bool = False

    @property
    def only(self) -> Order:
        (order,) = self.orders.values()
        return order


class FakeConnection:
    """Records the events that `add_event` writes."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def execute(self, _: object, values: Mapping[str, Any]) -> None:
        self.store.events.append(values)


class FakeDatabase:
    def __init__(self, store: Store) -> None:
        self.store = store

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[FakeConnection]:
        if self.store.unavailable:
            raise DatabaseUnavailable
        yield FakeConnection(self.store)

    transaction = connection


class FakeOrders:
    def __init__(self, connection: FakeConnection) -> None:
        self.store = connection.store

    async def add_pending(self, order: Order, lease: float, claim: Claim | None) -> datetime | None:
        if self.store.numbers_taken:
            self.store.numbers_taken -= 1
            raise OrderNumberTaken
        if claim is not None:
            if (claim.principal, claim.key) in self.store.keys:
                return None
            self.store.keys[claim.principal, claim.key] = (claim.request, order.id)
        order.status = OrderStatus.PENDING
        self.store.orders[order.id] = order
        return NOW

    async def get(self, order_id: UUID, *, for_update: bool = False) -> Order | None:
        order = self.store.orders.get(order_id)
        if order is not None and order.cancelled_by:
            order.status = OrderStatus.CANCELLED  # the service has changed its own object
        return order

    async def confirm(self, order_id: UUID, at: datetime, body: str, event: Any) -> bool:
        if self.store.fail_confirm:
            self.store.fail_confirm = False
            raise DatabaseUnavailable
        if order_id in self.store.debts or self.store.orders[order_id].cancelled_by:
            return False
        self.store.answers[order_id] = body
        self.store.events.append(event)
        if self.store.lose_commit:
            raise DatabaseUnavailable
        return True

    async def cancel_pending(self, order_id: UUID, by: CancelledBy, *, stock_debt: bool) -> bool:
        order = self.store.orders[order_id]
        if order_id in self.store.answers or order.cancelled_by:
            return False
        order.status, order.cancelled_by = OrderStatus.CANCELLED, by
        if stock_debt:
            self.store.debts.add(order_id)
        return True

    async def cancel(self, order_id: UUID, reason: str | None, lease: float) -> datetime:
        self.store.debts.add(order_id)
        return NOW

    async def clear_debt(self, order_id: UUID) -> None:
        self.store.debts.discard(order_id)

    async def advance(self, order_id: UUID, before: OrderStatus, after: OrderStatus) -> bool:
        order = self.store.orders.get(order_id)
        if order is None or order.status != before:
            return False
        order.status = after
        return True

    async def page(self, *, limit: int, **_: Any) -> list[Order]:
        return list(self.store.orders.values())[:limit]


class FakeKeys:
    def __init__(self, connection: FakeConnection, hours: float) -> None:
        self.store = connection.store

    async def find(self, principal: str, key: str) -> StoredKey | None:
        if (principal, key) not in self.store.keys:
            return None
        request, order_id = self.store.keys[principal, key]
        answer = self.store.answers.get(order_id)
        status = self.store.orders[order_id].status
        return StoredKey(request, status, answer, timedelta(seconds=12))

    async def release(self, order_id: UUID) -> None:
        self.store.keys = {k: v for k, v in self.store.keys.items() if v[1] != order_id}


@dataclass
class FakeInventory:
    """Counts its calls; raises `error` from a reduction, `reverse_error` from a reversal."""

    calls: list[str] = field(default_factory=list)
    error: Exception | None = None
    reverse_error: Exception | None = None
    meanwhile: Callable[[], None] = lambda: None
    wait: asyncio.Event | None = None

    async def reduce(self, order_id: UUID, pieces: Mapping[str, int], _: object) -> None:
        self.calls.append("reduce")
        if self.wait is not None:
            await self.wait.wait()
        self.meanwhile()
        if self.error is not None:
            raise self.error

    async def reverse(self, order_id: UUID, _: object) -> None:
        self.calls.append("reverse")
        if self.reverse_error is not None:
            raise self.reverse_error


@dataclass
class FakeChecks:
    error: Exception | None = None
    meanwhile: Callable[[], None] = lambda: None

    async def run(self, request: OrderIn, _: object) -> dict[str, str]:
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return {"p": "Catalogue name"}


class Shop:
    """An OrderService with its fakes."""

    def __init__(self, **settings: Any) -> None:
        self.store, self.inventory, self.checks = Store(), FakeInventory(), FakeChecks()
        self.registry = CollectorRegistry()
        self.service = OrderService(
            cast(Any, FakeDatabase(self.store)),
            cast(Any, self.inventory),
            cast(Any, self.checks),
            Settings(**settings),
            OrderMetrics(self.registry),
            order_repository=cast(Any, FakeOrders),
            key_repository=cast(Any, FakeKeys),
        )

    async def place(self, key: CallerKey | None = KEY, quantity: int = 1) -> tuple[OrderOut, bool]:
        request = OrderIn.model_validate(order_of(("p", quantity)))
        placed = await self.service.place(request, key)
        return OrderOut.model_validate_json(placed.body), placed.replayed

    def counted(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("order_placings_total", {"outcome": outcome})

    def stored(self, status: OrderStatus, by: CancelledBy | None = None) -> Order:
        item = OrderItem(
            id=uuid4(),
            product_id="p",
            product_name="P",
            quantity=1,
            unit_price=10,
            total_price=10,
        )
        order = Order(
            id=uuid4(),
            order_number="ORD-20261130-AAAAAAAA",
            customer_name="Alice",
            customer_email="alice@example.com",
            total_amount=10,
            status=status,
            cancelled_by=by,
            created_at=NOW,
            updated_at=NOW,
            items=[item],
        )
        self.store.orders[order.id] = order
        return order

    def advance(self, order: Order, status: OrderStatus, caller: Caller = ADMIN) -> Any:
        connection = cast(Any, FakeConnection(self.store))
        return self.service.advance(connection, order.id, status, caller)


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_place_returns_confirmed_order_with_one_event_and_stored_response(shop: Shop) -> None:
    order, replayed = await shop.place()
    assert (order.status, replayed) == (OrderStatus.CONFIRMED, False)
    assert order.items[0].product_name == "Catalogue name"
    assert order.created_at == NOW <= order.updated_at
    assert len(shop.store.events) == 1
    assert OrderOut.model_validate_json(shop.store.answers[order.id]) == order
    assert (shop.inventory.calls, shop.counted("confirmed")) == (["reduce"], 1)


async def test_place_with_same_key_returns_first_response(shop: Shop) -> None:
    first, _ = await shop.place()
    again, replayed = await shop.place()
    assert (again, replayed) == (first, True)
    assert (len(shop.store.orders), shop.inventory.calls) == (1, ["reduce"])
    assert shop.counted("replayed") == 1


async def test_place_with_same_key_and_other_request_is_refused(shop: Shop) -> None:
    await shop.place()
    with pytest.raises(IdempotencyKeyReused):
        await shop.place(quantity=2)


async def test_place_with_key_of_other_principal_places_another_order(shop: Shop) -> None:
    await shop.place()
    await shop.place(CallerKey("sub:bob", KEY.key))
    assert len(shop.store.orders) == 2


async def test_place_without_key_never_replays(shop: Shop) -> None:
    await shop.place(None)
    await shop.place(None)
    assert len(shop.store.orders) == 2


async def test_place_while_same_key_is_pending_returns_request_in_progress(shop: Shop) -> None:
    shop.inventory.wait = asyncio.Event()
    first = asyncio.create_task(shop.place())
    while not shop.inventory.calls:
        await asyncio.sleep(0)
    with pytest.raises(RequestInProgress) as error:
        await shop.place()
    assert error.value.headers == {"Retry-After": "12"}
    shop.inventory.wait.set()
    await first


async def test_failed_check_stores_nothing(shop: Shop) -> None:
    shop.checks.error = PriceChanged("p costs 2, not 1.")
    with pytest.raises(PriceChanged):
        await shop.place()
    assert (shop.store.orders, shop.store.keys, shop.inventory.calls) == ({}, {}, [])


async def test_failed_check_returns_response_that_same_key_stored_meanwhile(shop: Shop) -> None:
    order, _ = await shop.place()
    key, shop.store.keys = dict(shop.store.keys), {}
    shop.checks.error = PriceChanged("p costs 2, not 1.")
    shop.checks.meanwhile = lambda: shop.store.keys.update(key)
    assert await shop.place() == (order, True)


async def test_lost_race_for_key_returns_response_of_winner(shop: Shop) -> None:
    order, _ = await shop.place()
    key, shop.store.keys = dict(shop.store.keys), {}
    shop.checks.meanwhile = lambda: shop.store.keys.update(key)
    assert await shop.place() == (order, True)
    assert len(shop.store.orders) == 1


async def test_taken_order_number_is_replaced_by_a_new_one(shop: Shop) -> None:
    shop.store.numbers_taken = 2
    order, _ = await shop.place()
    assert order.status == OrderStatus.CONFIRMED


async def test_passed_deadline_stores_nothing() -> None:
    shop = Shop(place_deadline=0.2)
    shop.service._checks = cast(Any, SlowChecks(0.25))
    with pytest.raises(PlacingInterrupted):
        await shop.place()
    assert shop.store.orders == {}


@dataclass
class SlowChecks:
    seconds: float

    async def run(self, *_: object) -> dict[str, str]:
        await asyncio.sleep(self.seconds)
        return {}


@pytest.mark.parametrize("maybe_reduced", [False, True])
async def test_refused_reduction_cancels_order_and_releases_key(
    shop: Shop, maybe_reduced: bool
) -> None:
    shop.inventory.error = ReductionRefused(OutOfStock("short"), maybe_reduced=maybe_reduced)
    with pytest.raises(OutOfStock):
        await shop.place()
    order = shop.store.only
    assert (order.status, order.cancelled_by) == (OrderStatus.CANCELLED, CancelledBy.PLACING)
    assert (order.id in shop.store.debts, shop.store.keys) == (maybe_reduced, {})
    shop.inventory.error = None
    await shop.place()  # the key is free


async def test_unanswered_reduction_cancels_order_with_stock_debt(shop: Shop) -> None:
    shop.inventory.error = InventoryUnavailable(InventoryUnavailable.example)
    with pytest.raises(InventoryUnavailable):
        await shop.place()
    assert shop.store.debts == {shop.store.only.id}
    assert (shop.store.keys, shop.store.events) == ({}, [])


async def test_reversed_reduction_returns_placing_interrupted(shop: Shop) -> None:
    def recover() -> None:
        order = shop.store.only
        order.status, order.cancelled_by = OrderStatus.CANCELLED, CancelledBy.RECOVERY

    shop.inventory.meanwhile, shop.inventory.error = recover, ReductionReversed()
    with pytest.raises(PlacingInterrupted):
        await shop.place()


async def test_order_cancelled_by_customer_during_placing_is_not_confirmed(shop: Shop) -> None:
    def cancel() -> None:
        shop.store.only.cancelled_by = CancelledBy.CALLER

    shop.inventory.meanwhile = cancel
    with pytest.raises(OrderCancelled):
        await shop.place()
    assert shop.store.events == []


async def test_confirm_with_lost_commit_reply_returns_confirmed_order(shop: Shop) -> None:
    shop.store.lose_commit = True
    order, _ = await shop.place()
    assert (order.status, shop.store.debts) == (OrderStatus.CONFIRMED, set())


async def test_failed_commit_cancels_order_with_stock_debt(shop: Shop) -> None:
    shop.store.fail_confirm = True
    with pytest.raises(DatabaseUnavailable):
        await shop.place()
    assert shop.store.debts == {shop.store.only.id}
    assert shop.counted("DatabaseUnavailable") == 1


async def test_database_lost_during_commit_returns_outcome_unknown(shop: Shop) -> None:
    class Orders(FakeOrders):
        async def confirm(self, *_: Any) -> bool:
            self.store.unavailable = True
            raise DatabaseUnavailable

    shop.service._repository = cast(Any, Orders)
    with pytest.raises(OutcomeUnknown):
        await shop.place()


async def test_place_beyond_concurrency_limit_returns_busy_at_deadline() -> None:
    shop = Shop(place_concurrency=1, place_deadline=0.2)
    shop.inventory.wait = asyncio.Event()
    first = asyncio.create_task(shop.place(None))
    while not shop.inventory.calls:
        await asyncio.sleep(0)
    with pytest.raises(Busy):
        await shop.place(None)
    shop.inventory.wait.set()
    await first
    await shop.place(None)  # the slot is free again
    assert len(shop.store.orders) == 2


@pytest.mark.parametrize(
    ("status", "events"), [(OrderStatus.PENDING, 0), (OrderStatus.CONFIRMED, 1)]
)
async def test_cancel_returns_stock_and_sends_event_if_confirmed(
    shop: Shop, status: OrderStatus, events: int
) -> None:
    order = shop.stored(status)
    cancelled = await shop.service.cancel(order.id, "changed my mind", ALICE)
    assert cancelled.status == OrderStatus.CANCELLED
    assert (order.cancelled_by, order.cancel_reason) == (CancelledBy.CALLER, "changed my mind")
    assert (len(shop.store.events), shop.inventory.calls) == (events, ["reverse"])
    assert shop.store.debts == set()


async def test_cancel_twice_changes_nothing(shop: Shop) -> None:
    order = shop.stored(OrderStatus.CONFIRMED)
    await shop.service.cancel(order.id, None, ALICE)
    again = await shop.service.cancel(order.id, "again", ALICE)
    assert (again.status, order.cancel_reason) == (OrderStatus.CANCELLED, None)
    assert (len(shop.store.events), shop.inventory.calls) == (1, ["reverse"])


async def test_cancel_while_inventory_is_unavailable_keeps_stock_debt(shop: Shop) -> None:
    order = shop.stored(OrderStatus.CONFIRMED)
    shop.inventory.reverse_error = InventoryUnavailable(InventoryUnavailable.example)
    assert (await shop.service.cancel(order.id, None, ALICE)).status == OrderStatus.CANCELLED
    assert shop.store.debts == {order.id}


@pytest.mark.parametrize("status", [OrderStatus.SHIPPED, OrderStatus.DELIVERED])
async def test_cancel_of_shipped_order_is_refused(shop: Shop, status: OrderStatus) -> None:
    order = shop.stored(status)
    with pytest.raises(CannotCancel):
        await shop.service.cancel(order.id, None, ALICE)
    assert (order.status, shop.inventory.calls) == (status, [])


async def test_cancel_by_other_customer_is_forbidden(shop: Shop) -> None:
    order = shop.stored(OrderStatus.CONFIRMED)
    with pytest.raises(Forbidden):
        await shop.service.cancel(order.id, None, BOB)
    assert order.status == OrderStatus.CONFIRMED


async def test_cancel_of_unknown_order_returns_not_found(shop: Shop) -> None:
    with pytest.raises(OrderNotFound):
        await shop.service.cancel(uuid4(), None, ALICE)


async def test_order_is_shipped_then_delivered(shop: Shop) -> None:
    order = shop.stored(OrderStatus.CONFIRMED)
    for status in (OrderStatus.SHIPPED, OrderStatus.DELIVERED):
        assert (await shop.advance(order, status)).status == status


@pytest.mark.parametrize(
    ("status", "target"),
    [
        (OrderStatus.PENDING, OrderStatus.SHIPPED),
        (OrderStatus.CONFIRMED, OrderStatus.DELIVERED),
        (OrderStatus.SHIPPED, OrderStatus.SHIPPED),
        (OrderStatus.CANCELLED, OrderStatus.SHIPPED),
        (OrderStatus.SHIPPED, OrderStatus.CONFIRMED),
        (OrderStatus.CONFIRMED, OrderStatus.CANCELLED),
    ],
)
async def test_other_transitions_are_refused(
    shop: Shop, status: OrderStatus, target: OrderStatus
) -> None:
    order = shop.stored(status)
    with pytest.raises(InvalidTransition):
        await shop.advance(order, target)
    assert order.status == status


async def test_customer_cannot_advance_an_order(shop: Shop) -> None:
    order = shop.stored(OrderStatus.CONFIRMED)
    with pytest.raises(Forbidden):
        await shop.advance(order, OrderStatus.SHIPPED, ALICE)


async def test_customer_reads_own_orders_only(shop: Shop) -> None:
    order, connection = shop.stored(OrderStatus.CONFIRMED), cast(Any, FakeConnection(shop.store))
    assert await shop.service.get(connection, order.id, ALICE) is order
    with pytest.raises(Forbidden):
        await shop.service.get(connection, order.id, BOB)


async def test_page_tells_whether_there_are_more_orders(shop: Shop) -> None:
    orders, connection = [shop.stored(OrderStatus.CONFIRMED) for _ in range(3)], FakeConnection
    for limit, more in ((2, True), (3, False)):
        page = await shop.service.page(cast(Any, connection(shop.store)), limit, None, None, None)
        assert page == (orders[:limit], more)
