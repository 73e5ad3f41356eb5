"""Kill a process once at each crash point of docs/guarantees.md.

Each test checks the recovery from one crash; the last one runs all checks on the whole state.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest

from tests.fleet_under_test import until
from tests.judge.checks import judge
from tests.judge.checks.run_data import RunData
from tests.judge.customers import problem_of
from tests.judge.evidence import Watch, read_state, read_topics, settled
from tests.judge.history import Attempt, History, Kind, Outcome, outcome_of
from tests.judge.plan import PLACES
from tests.judge.run import Clock
from tests.judge.target import EmbeddedFleet

LEASE = 5.0  # seconds; a third of the default, to shorten the wait for recovery
EMAIL = "alice@example.com"
SEEN: set[tuple[str, str]] = set()


class Ground:
    """A fleet, and one customer calling its services directly."""

    def __init__(self, target: EmbeddedFleet) -> None:
        self.target, self.history, self.clock = target, History(), Clock()
        self.initial: dict[str, int] = {}
        self.watch = Watch(target.addresses, self.clock)
        self.orders = target.url("order-service") + "/api/orders"
        self.inventory = target.url("inventory-service") + "/api/inventory"

    async def stock(self, quantity: int = 100) -> str:
        """Create a product with this stock. Return its id."""
        product = f"crash-{secrets.token_hex(4)}"
        body = {"product_id": product, "product_name": "Thing", "quantity": quantity}
        answer = await self._ask("POST", self.inventory, body)
        assert answer is not None
        assert answer.status_code == 201
        self.initial[product] = quantity
        return product

    async def place(self, product: str, intent: str) -> Attempt:
        """Try once to place an order, with the intent as idempotency key."""
        attempt = Attempt(Kind.PLACE, "alice", self.clock(), intent=intent, key=intent)
        attempt.pieces = {product: 1}
        item = {"product_id": product, "product_name": "Thing", "quantity": 1, "unit_price": 9.99}
        body = {"customer_name": intent, "customer_email": EMAIL, "items": [item]}
        answer = await self._ask("POST", self.orders, body, {"Idempotency-Key": intent})
        self._note(attempt, answer)
        if answer is not None and answer.status_code == 201:
            attempt.order_id, attempt.body = answer.json()["id"], answer.text
        return attempt

    async def place_surely(self, product: str, intent: str) -> Attempt:
        """Retry with the same key until there is a response. Return that attempt."""
        async with asyncio.timeout(60):
            while True:
                attempt = await self.place(product, intent)
                if attempt.outcome is Outcome.OK:
                    return attempt
                await asyncio.sleep(0.2)  # retry interval

    async def cancel(self, order_id: str) -> Attempt:
        attempt = Attempt(Kind.CANCEL, "alice", self.clock(), order_id=order_id)
        self._note(attempt, await self._ask("PATCH", f"{self.orders}/{order_id}/cancel"))
        return attempt

    async def remaining_stock(self, product: str) -> int:
        answer = await self._ask("GET", f"{self.inventory}/{product}")
        return int(answer.json()["quantity"]) if answer is not None else -1

    async def wait_for_stock(self, product: str, quantity: int) -> None:
        async def so_many() -> bool:
            return await self.remaining_stock(product) == quantity

        await until(so_many, 30, f"{quantity} pieces of {product} are there")

    async def kill_at(
        self, service: str, place: str, work: Callable[[], Awaitable[object]]
    ) -> None:
        """Kill a service at a failpoint while it does this work, and restart it."""
        died = asyncio.create_task(self.target.arm_failpoint(service, place, 30))
        await asyncio.sleep(0)  # let the task arm the failpoint
        await work()
        assert await died, f"failpoint {place} was not reached"
        SEEN.add((service, place))
        await self.target.restart_dead(service)

    async def _ask(
        self, method: str, url: str, body: object = None, headers: dict[str, str] | None = None
    ) -> httpx2.Response | None:
        try:
            async with httpx2.AsyncClient(timeout=10) as http:
                return await http.request(method, url, json=body, headers=headers)
        except httpx2.TransportError:
            return None

    def _note(self, attempt: Attempt, answer: httpx2.Response | None) -> None:
        attempt.ended = self.clock()
        if answer is not None:
            attempt.status, attempt.problem = answer.status_code, problem_of(answer)
        attempt.outcome = outcome_of(attempt.status, attempt.problem, attempt.kind)
        self.history.add(attempt)


@pytest.fixture(scope="module")
async def ground() -> AsyncIterator[Ground]:
    target = EmbeddedFleet(seed=1, settings={"LEASE_SECONDS": str(LEASE)})
    try:
        await target.up()
        yield Ground(target)
    finally:
        await target.remove()


def new_intent() -> str:
    return f"wish-{secrets.token_hex(6)}"


@pytest.mark.parametrize(
    "place",
    ["placing.saved", "placing.reduced"],
)
async def test_promise_13_unfinished_order_is_cancelled_and_key_can_be_retried(
    ground: Ground, place: str
) -> None:
    product, intent = await ground.stock(), new_intent()
    await ground.kill_at("order-service", place, lambda: ground.place(product, intent))
    assert ground.history.attempts[-1].status == 0  # the customer received no response
    await ground.place_surely(product, intent)
    await ground.wait_for_stock(product, 99)


async def test_crash_after_confirmation_replays_response(ground: Ground) -> None:
    product, intent = await ground.stock(), new_intent()
    await ground.kill_at(
        "order-service", "placing.confirmed", lambda: ground.place(product, intent)
    )
    assert ground.history.attempts[-1].status == 0
    answer = await ground.place(product, intent)
    assert answer.status == 201  # the replayed response, at the first attempt
    assert await ground.remaining_stock(product) == 99


async def test_crash_after_failed_reservation_returns_stock(ground: Ground) -> None:
    """inventory-service crashes in the reduction, order-service when it cancels the order."""
    product, intent = await ground.stock(), new_intent()

    async def place_while_inventory_dies() -> None:
        await asyncio.gather(
            ground.place(product, intent),
            ground.target.arm_failpoint("inventory-service", "write.committed", 20),
        )

    await ground.kill_at("order-service", "placing.given_up", place_while_inventory_dies)
    await ground.target.restart_dead("inventory-service")
    await ground.wait_for_stock(product, 100)


@pytest.mark.parametrize("place", ["recovery.claimed", "recovery.cancelled", "recovery.reversed"])
async def test_crash_in_recovery_is_recovered(ground: Ground, place: str) -> None:
    product, intent = await ground.stock(), new_intent()
    await ground.kill_at("order-service", "placing.reduced", lambda: ground.place(product, intent))
    assert await ground.remaining_stock(product) == 99
    await ground.kill_at("order-service", place, lambda: asyncio.sleep(0))
    await ground.wait_for_stock(product, 100)


@pytest.mark.parametrize("place", ["cancelling.committed", "cancelling.reversed"])
async def test_crash_in_cancellation_is_finished_by_recovery(ground: Ground, place: str) -> None:
    product = await ground.stock()
    order = await ground.place_surely(product, new_intent())
    await ground.kill_at("order-service", place, lambda: ground.cancel(order.order_id))
    await ground.wait_for_stock(product, 100)
    assert (await ground.cancel(order.order_id)).status == 200  # idempotent


async def test_crash_before_outbox_mark_republishes_event_with_same_id(
    ground: Ground,
) -> None:
    product = await ground.stock()
    order = await ground.place_surely(product, new_intent())
    await settle(ground)
    intent = new_intent()
    await ground.kill_at("order-service", "relay.sent", lambda: ground.place(product, intent))
    order = await ground.place_surely(product, intent)

    async def sent_twice() -> bool:
        records = await read_topics(ground.target.addresses.kafka, ("order-placed",))
        ids = [record.event_id for record in records if record.key == order.order_id]
        return len(ids) == 2 and len(set(ids)) == 1

    await until(sent_twice, 30, "the event is on the topic twice", every=0.5)


@pytest.mark.parametrize("place", ["write.committing", "write.committed"])
async def test_crash_of_inventory_in_reduction_is_resolved_by_key(
    ground: Ground, place: str
) -> None:
    product, intent = await ground.stock(), new_intent()
    await ground.kill_at("inventory-service", place, lambda: ground.place(product, intent))
    await ground.place_surely(product, intent)
    await ground.wait_for_stock(product, 99)


async def test_crash_of_inventory_after_low_stock_event(ground: Ground) -> None:
    product, intent = await ground.stock(10), new_intent()
    await ground.kill_at("inventory-service", "relay.sent", lambda: ground.place(product, intent))
    await ground.place_surely(product, intent)
    await settle(ground)


@pytest.mark.parametrize(
    ("service", "place"),
    [
        ("notification-service", "mail.accepted"),
        ("notification-service", "consumer.handled"),
        ("ai-service", "consumer.handled"),
    ],
)
async def test_crashed_consumer_resumes_at_committed_offset(
    ground: Ground, service: str, place: str
) -> None:
    product, intent = await ground.stock(), new_intent()
    await ground.kill_at(service, place, lambda: ground.place_surely(product, intent))
    await settle(ground)


async def test_state_after_all_crashes_passes_every_check(ground: Ground) -> None:
    """Promises 2, 4, 10, 16, 23, 24 and 29. The crashes of notification-service allow two duplicate
    mails; only the crash after SMTP had accepted the mail can cause one."""
    assert {(service, place) for service in PLACES for place in PLACES[service]} == SEEN
    await settle(ground)
    await ground.watch.look()
    state = await read_state(ground.target.addresses)
    state.reads, state.unfinished = ground.watch.reads, ground.watch.unfinished
    run_data = RunData(ground.history, state, ground.initial, smtp_windows=1)
    violations = {verdict.name: verdict.violations for verdict in judge(run_data)}
    assert not any(violations.values()), violations
    lows = [mail for mail in state.mails if mail.kind == "low"]
    assert len(lows) == 1


async def settle(ground: Ground) -> None:
    assert await settled(ground.target.addresses, 60) == ""
