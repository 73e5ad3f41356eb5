"""A process dies at each place of docs/order-flow.md's table, once, in the midst of its work.

Each test breaks one thing and sees it healed; the last one reads every store and judges the whole.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest

from tests.fleet_under_test import until
from tests.judge.checks import judge
from tests.judge.checks.trial import Trial
from tests.judge.customers import problem_of
from tests.judge.evidence import Watch, read_state, read_topics, settled
from tests.judge.history import Attempt, History, Kind, Outcome, outcome_of
from tests.judge.plan import PLACES
from tests.judge.run import Clock
from tests.judge.target import EmbeddedFleet

LEASE = 5.0  # seconds, a third of the usual, so that recovery is not waited for as long
EMAIL = "alice@example.com"
SEEN: set[tuple[str, str]] = set()


class Ground:
    """A fleet, and one customer who asks its services directly."""

    def __init__(self, target: EmbeddedFleet) -> None:
        self.target, self.history, self.clock = target, History(), Clock()
        self.initial: dict[str, int] = {}
        self.watch = Watch(target.addresses, self.clock)
        self.orders = target.url("order-service") + "/api/orders"
        self.inventory = target.url("inventory-service") + "/api/inventory"

    async def stock(self, quantity: int = 100) -> str:
        """A new product with so many pieces."""
        product = f"crash-{secrets.token_hex(4)}"
        body = {"product_id": product, "product_name": "Thing", "quantity": quantity}
        answer = await self._ask("POST", self.inventory, body)
        assert answer is not None
        assert answer.status_code == 201
        self.initial[product] = quantity
        return product

    async def place(self, product: str, wish: str) -> Attempt:
        """One attempt, with the wish as its key."""
        attempt = Attempt(Kind.PLACE, "alice", self.clock(), wish=wish, key=wish)
        attempt.pieces = {product: 1}
        item = {"product_id": product, "product_name": "Thing", "quantity": 1, "unit_price": 9.99}
        body = {"customer_name": wish, "customer_email": EMAIL, "items": [item]}
        answer = await self._ask("POST", self.orders, body, {"Idempotency-Key": wish})
        self._note(attempt, answer)
        if answer is not None and answer.status_code == 201:
            attempt.order_id, attempt.body = answer.json()["id"], answer.text
        return attempt

    async def place_surely(self, product: str, wish: str) -> Attempt:
        """With one key until it is answered; the answer."""
        async with asyncio.timeout(60):
            while True:
                attempt = await self.place(product, wish)
                if attempt.outcome is Outcome.OK:
                    return attempt
                await asyncio.sleep(0.2)  # between two tries

    async def cancel(self, order_id: str) -> Attempt:
        attempt = Attempt(Kind.CANCEL, "alice", self.clock(), order_id=order_id)
        self._note(attempt, await self._ask("PATCH", f"{self.orders}/{order_id}/cancel"))
        return attempt

    async def left(self, product: str) -> int:
        answer = await self._ask("GET", f"{self.inventory}/{product}")
        return int(answer.json()["quantity"]) if answer is not None else -1

    async def until_left(self, product: str, quantity: int) -> None:
        async def so_many() -> bool:
            return await self.left(product) == quantity

        await until(so_many, 30, f"{quantity} pieces of {product} are there")

    async def dies(self, service: str, place: str, work: Callable[[], Awaitable[object]]) -> None:
        """Have a service die at a place in the midst of this work, and start it again."""
        died = asyncio.create_task(self.target.fires(service, place, 30))
        await asyncio.sleep(0)  # now it is armed
        await work()
        assert await died, f"nobody came to {place}"
        SEEN.add((service, place))
        await self.target.revive(service)

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


def new_wish() -> str:
    return f"wish-{secrets.token_hex(6)}"


@pytest.mark.parametrize(
    "place",
    ["placing.saved", "placing.reduced"],
)
async def test_promise_13_an_order_left_half_done_is_undone_and_its_key_tries_again(
    ground: Ground, place: str
) -> None:
    product, wish = await ground.stock(), new_wish()
    await ground.dies("order-service", place, lambda: ground.place(product, wish))
    assert ground.history.attempts[-1].status == 0  # its customer heard nothing
    await ground.place_surely(product, wish)
    await ground.until_left(product, 99)


async def test_an_order_that_was_confirmed_before_the_reply_stands(ground: Ground) -> None:
    product, wish = await ground.stock(), new_wish()
    await ground.dies("order-service", "placing.confirmed", lambda: ground.place(product, wish))
    assert ground.history.attempts[-1].status == 0
    answer = await ground.place(product, wish)
    assert answer.status == 201  # the first one's answer, at the first try
    assert await ground.left(product) == 99


async def test_an_order_that_was_given_up_returns_its_stock(ground: Ground) -> None:
    """Inventory dies in the midst of the reduction, and order-service as it gives up."""
    product, wish = await ground.stock(), new_wish()

    async def place_while_inventory_dies() -> None:
        await asyncio.gather(
            ground.place(product, wish),
            ground.target.fires("inventory-service", "write.committed", 20),
        )

    await ground.dies("order-service", "placing.given_up", place_while_inventory_dies)
    await ground.target.revive("inventory-service")
    await ground.until_left(product, 100)


@pytest.mark.parametrize("place", ["recovery.claimed", "recovery.cancelled", "recovery.reversed"])
async def test_a_recovery_that_dies_is_recovered_from(ground: Ground, place: str) -> None:
    product, wish = await ground.stock(), new_wish()
    await ground.dies("order-service", "placing.reduced", lambda: ground.place(product, wish))
    assert await ground.left(product) == 99
    await ground.dies("order-service", place, lambda: asyncio.sleep(0))
    await ground.until_left(product, 100)


@pytest.mark.parametrize("place", ["cancelling.committed", "cancelling.reversed"])
async def test_a_cancellation_that_dies_is_finished_by_recovery(ground: Ground, place: str) -> None:
    product = await ground.stock()
    order = await ground.place_surely(product, new_wish())
    await ground.dies("order-service", place, lambda: ground.cancel(order.order_id))
    await ground.until_left(product, 100)
    assert (await ground.cancel(order.order_id)).status == 200  # twice is the same as once


async def test_an_event_that_was_sent_and_not_marked_is_sent_again_with_its_id(
    ground: Ground,
) -> None:
    product = await ground.stock()
    order = await ground.place_surely(product, new_wish())
    await settle(ground)
    wish = new_wish()
    await ground.dies("order-service", "relay.sent", lambda: ground.place(product, wish))
    order = await ground.place_surely(product, wish)

    async def sent_twice() -> bool:
        records = await read_topics(ground.target.addresses.kafka, ("order-placed",))
        ids = [record.event_id for record in records if record.key == order.order_id]
        return len(ids) == 2 and len(set(ids)) == 1

    await until(sent_twice, 30, "the event is on the topic twice", every=0.5)


@pytest.mark.parametrize("place", ["write.committing", "write.committed"])
async def test_inventory_dies_in_a_reduction_and_its_key_tells_what_it_did(
    ground: Ground, place: str
) -> None:
    product, wish = await ground.stock(), new_wish()
    await ground.dies("inventory-service", place, lambda: ground.place(product, wish))
    await ground.place_surely(product, wish)
    await ground.until_left(product, 99)


async def test_inventory_dies_after_it_has_told_of_low_stock(ground: Ground) -> None:
    product, wish = await ground.stock(10), new_wish()
    await ground.dies("inventory-service", "relay.sent", lambda: ground.place(product, wish))
    await ground.place_surely(product, wish)
    await settle(ground)


@pytest.mark.parametrize(
    ("service", "place"),
    [
        ("notification-service", "mail.accepted"),
        ("notification-service", "consumer.handled"),
        ("ai-service", "consumer.handled"),
    ],
)
async def test_a_consumer_that_dies_goes_on_where_it_had_committed(
    ground: Ground, service: str, place: str
) -> None:
    product, wish = await ground.stock(), new_wish()
    await ground.dies(service, place, lambda: ground.place_surely(product, wish))
    await settle(ground)


async def test_after_all_these_deaths_everything_is_right(ground: Ground) -> None:
    """Promises 2, 4, 10, 16, 23, 24 and 29: of the two doubled mails that are allowed, at most one
    was ever possible: the one that SMTP had accepted when notification-service died."""
    assert {(service, place) for service in PLACES for place in PLACES[service]} == SEEN
    await settle(ground)
    await ground.watch.look()
    state = await read_state(ground.target.addresses)
    state.reads, state.unfinished = ground.watch.reads, ground.watch.unfinished
    trial = Trial(ground.history, state, ground.initial, smtp_windows=1)
    violations = {verdict.name: verdict.violations for verdict in judge(trial)}
    assert not any(violations.values()), violations
    lows = [mail for mail in state.mails if mail.kind == "low"]
    assert len(lows) == 1


async def settle(ground: Ground) -> None:
    assert await settled(ground.target.addresses, 60) == ""
