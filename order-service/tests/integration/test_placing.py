"""Each fault of docs/order-flow.md: in the end stock and orders are consistent."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from tests.conftest import order_of, running
from tests.fakes import FakeInventory, PostgresProxy

RECOVERED = 30.0  # seconds: one lease, then a retry of the stock debt


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = RECOVERED) -> None:
    """Poll a condition; fail if it is not true in time."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def settled(sql: Any, inventory: FakeInventory) -> None:
    """Wait until no order is PENDING or has stock debt, then compare stock and orders."""

    async def quiet() -> bool:
        query = "SELECT count(*) FROM orders WHERE status = 'PENDING' OR stock_debt"
        return bool(await sql.fetchval(query) == 0)

    await until(quiet)
    sold = await sql.fetchval(
        "SELECT coalesce(sum(i.quantity), 0) FROM order_items i JOIN orders o ON o.id = i.order_id"
        " WHERE o.status <> 'CANCELLED'"
    )
    assert sum(inventory.stock.values()) + sold == 2_000


async def place(client: httpx2.AsyncClient, key: str | None = None, **more: Any) -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post("/api/orders", json=order_of(("p", 1), **more), headers=headers)


async def test_promise_6_lost_reply_of_the_reduction_loses_no_order(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    """Promise 6: 500 orders; one of ten reductions runs and its reply is lost."""

    async def lose_one() -> httpx2.Response:
        inventory.lose_replies += 1
        return await place(client)

    answers: Counter[int] = Counter()
    for _ in range(25):
        orders = [place(client) if n % 10 else lose_one() for n in range(20)]
        answers.update(answer.status_code for answer in await asyncio.gather(*orders))
    inventory.lose_replies = 0
    await settled(sql, inventory)
    assert answers.keys() <= {201, 503}
    assert answers[201] >= 475, "the retry finds the reduction by its key"
    standing = await sql.fetchval("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
    assert standing == answers[201]


async def test_promise_6_stock_is_returned_when_every_reply_is_lost(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    """Promise 6."""
    inventory.lose_replies = 1_000
    assert (await place(client, "k")).status_code == 503
    await settled(sql, inventory)
    assert inventory.stock["p"] == 1_000
    inventory.lose_replies = 0
    assert (await place(client, "k")).status_code == 201


async def test_late_reduction_of_a_cancelled_order_takes_nothing(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    inventory.late = True
    assert (await place(client)).status_code == 503
    await settled(sql, inventory)
    assert {status for status, _ in inventory.run_late()} == {409}
    assert inventory.stock["p"] == 1_000


async def test_refusal_after_an_unanswered_attempt_is_reversed(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    """Without stock debt the delayed first attempt would take stock for a refused order."""

    inventory.late = True
    original = inventory.reduce

    def second_try_is_refused(key: str, pieces: dict[str, int]) -> Any:
        inventory.reduce = original  # type: ignore[method-assign]
        return 400, {"type": "/problems/insufficient-stock", "detail": "Insufficient stock of p"}

    inventory.reduce = second_try_is_refused  # type: ignore[method-assign]
    task = asyncio.create_task(place(client))
    await until(lambda: _true(bool(inventory._late)))
    inventory.late = False
    assert (await task).status_code == 400
    await settled(sql, inventory)
    inventory.run_late()
    assert inventory.stock["p"] == 1_000


async def _true(value: bool) -> bool:
    return value


async def test_promise_31_order_with_hanging_inventory_ends_within_the_deadline(
    settings: Settings, inventory: FakeInventory, sql: Any
) -> None:
    """Promise 31: the response meets the deadline, and no stock stays reserved."""
    brisk = settings.model_copy(update={"place_deadline": 0.5})
    async with running(create_app(brisk)) as client:
        inventory.hang = True
        started = time.perf_counter()
        response = await place(client)
        assert response.status_code == 503
        assert time.perf_counter() - started < 0.5 + 0.3
        inventory.hang = False
        await settled(sql, inventory)


FAILING_COMMIT = """
    CREATE FUNCTION fail_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what} END $$;
    CREATE CONSTRAINT TRIGGER fail_commit AFTER UPDATE ON orders DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status IN ('CONFIRMED', 'SHIPPED')) EXECUTE FUNCTION fail_commit();
"""


@pytest.fixture
async def failing_commit(sql: Any) -> Any:
    async def install(what: str) -> None:
        await sql.execute(FAILING_COMMIT.format(what=what))

    yield install
    await sql.execute("DROP FUNCTION IF EXISTS fail_commit CASCADE")


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("RAISE EXCEPTION 'no';", 500),
        ("PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL;", 503),
    ],
)
async def test_failed_commit_does_not_return_201(
    client: httpx2.AsyncClient,
    inventory: FakeInventory,
    sql: Any,
    failing_commit: Any,
    what: str,
    status: int,
) -> None:
    """The COMMIT itself fails, after every statement of the transaction succeeded."""
    await failing_commit(what)
    assert (await place(client, "k")).status_code == status
    await sql.execute("DROP FUNCTION fail_commit CASCADE")
    await sql.execute("UPDATE orders SET lease_until = now() WHERE status = 'PENDING'")
    await settled(sql, inventory)
    assert await sql.fetchval("SELECT count(*) FROM outbox") == 0
    assert (await place(client, "k")).status_code == 201


async def test_confirm_with_lost_commit_reply_returns_201(
    settings: Settings, inventory: FakeInventory, sql: Any
) -> None:
    """The transaction was committed; the connection broke before PostgreSQL's reply."""
    async with PostgresProxy(settings.database_url) as proxy:
        behind = settings.model_copy(
            update={"database_url": proxy.url, "recovery_interval": 3_600.0}
        )
        async with running(create_app(behind)) as client:

            async def drop_confirmation_reply() -> None:
                proxy.drop_next_confirmation = True

            inventory.before_reduce_reply = drop_confirmation_reply
            response = await place(client)
            assert proxy.dropped == 1
            assert response.status_code == 201
            assert await sql.fetchval("SELECT status FROM orders") == "CONFIRMED"
            assert await sql.fetchval("SELECT count(*) FROM outbox") == 1


async def test_database_outage_after_lost_commit_reply_is_outcome_unknown(
    settings: Settings, inventory: FakeInventory, sql: Any
) -> None:
    """The response is `outcome-unknown`; a retry with the same key returns the outcome."""
    async with PostgresProxy(settings.database_url) as proxy:
        behind = settings.model_copy(
            update={"database_url": proxy.url, "recovery_interval": 3_600.0}
        )
        async with running(create_app(behind)) as client:

            async def stop_database() -> None:
                proxy.drop_next_confirmation = proxy.refuse_after_drop = True

            inventory.before_reduce_reply = stop_database
            response = await place(client, "k")
            assert response.status_code == 500
            assert response.json()["type"] == "/problems/outcome-unknown"
            proxy.refuse_after_drop = False
            assert (await place(client, "k")).status_code == 201
            assert await sql.fetchval("SELECT count(*) FROM orders") == 1


async def test_failed_commit_of_a_status_change_does_not_return_200(
    client: httpx2.AsyncClient, sql: Any, failing_commit: Any
) -> None:
    """A FastAPI dependency commits the transaction before the response is sent."""
    order = (await place(client)).json()
    await failing_commit("RAISE EXCEPTION 'no';")
    url = f"/api/orders/{order['id']}"
    response = await client.patch(f"{url}/status", json={"status": "SHIPPED"})
    assert response.status_code == 500
    assert (await client.get(url)).json()["status"] == "CONFIRMED"


async def test_order_paused_past_its_lease_is_not_confirmed(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    async def recovery_cancels() -> None:
        await sql.execute("UPDATE orders SET lease_until = now() - interval '1 s'")
        await until(lambda: _status_is(sql, "CANCELLED"))

    inventory.before_reduce_reply = recovery_cancels
    response = await place(client, "k")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/placing-interrupted")
    await settled(sql, inventory)
    assert (await place(client, "k")).status_code == 201


async def _status_is(sql: Any, status: str) -> bool:
    return bool(await sql.fetchval("SELECT status FROM orders") == status)


async def test_order_cancelled_while_pending_stays_cancelled(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    async def customer_cancels() -> None:
        order_id = await sql.fetchval("SELECT id FROM orders")
        response = await client.patch(f"/api/orders/{order_id}/cancel")
        assert response.status_code == 200

    inventory.before_reduce_reply = customer_cancels
    for _ in range(2):
        response = await place(client, "k")
        assert (response.status_code, response.json()["type"]) == (409, "/problems/order-cancelled")
    await settled(sql, inventory)
    assert await sql.fetchval("SELECT count(*) FROM outbox") == 0, "it was never confirmed"


async def store_interrupted_order(sql: Any, inventory: FakeInventory, *, reduced: bool) -> UUID:
    """Store the state after a crash following step 3, before or after the reduction."""
    order_id = uuid4()
    await sql.execute(
        "INSERT INTO orders (id, order_number, customer_name, customer_email, total_amount, status,"
        " lease_until) VALUES ($1, $2, 'A', 'alice@example.com', 10.5, 'PENDING', now())",
        order_id,
        str(order_id),
    )
    request = "something else"
    await sql.execute(
        "INSERT INTO idempotency_keys (principal, key, request, order_id)"
        " VALUES ('email:alice@example.com', $2, $3, $1)",
        order_id,
        str(order_id),
        request,
    )
    if reduced:
        inventory.reduce(str(order_id), {"p": 1})
    return order_id


@pytest.mark.parametrize("reduced", [False, True])
async def test_promise_13_order_of_a_crashed_process_is_cancelled_and_its_key_released(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any, reduced: bool
) -> None:
    """Promise 13, for crashes before and after the reduction."""
    order_id = await store_interrupted_order(sql, inventory, reduced=reduced)
    await settled(sql, inventory)
    assert await sql.fetchval("SELECT cancelled_by FROM orders") == "RECOVERY"
    assert inventory.reduce(str(order_id), {"p": 1})[0] == 409, "a late reduction is refused"
    assert (await place(client, str(order_id))).status_code == 201


async def test_concurrent_recoveries_return_the_stock_once(
    settings: Settings, inventory: FakeInventory, sql: Any
) -> None:
    async with running(create_app(settings)), running(create_app(settings)):
        for _ in range(40):
            await store_interrupted_order(sql, inventory, reduced=True)
        await settled(sql, inventory)
    assert inventory.stock["p"] == 1_000


async def test_stock_debt_of_a_cancelled_order_is_paid_after_an_outage(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    order = (await place(client)).json()
    inventory.down = True
    response = await client.patch(f"/api/orders/{order['id']}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")
    assert inventory.stock["p"] == 999
    await sql.execute("UPDATE orders SET lease_until = now()")
    inventory.down = False
    await until(lambda: _true(inventory.stock["p"] == 1_000), seconds=30)
    await settled(sql, inventory)


async def test_promise_9_exactly_one_of_cancellation_and_shipment_wins(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    """Promise 9: 60 concurrent pairs; stock is returned once, and only for cancelled orders."""

    async def race() -> str:
        url = f"/api/orders/{(await place(client)).json()['id']}"
        answers = await asyncio.gather(
            client.patch(f"{url}/cancel"), client.patch(f"{url}/status", json={"status": "SHIPPED"})
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200, 400]
        status: str = (await client.get(url)).json()["status"]
        return status

    rounds = [await asyncio.gather(*(race() for _ in range(10))) for _ in range(6)]
    outcomes = [outcome for outcomes in rounds for outcome in outcomes]
    await settled(sql, inventory)
    assert set(outcomes) <= {"SHIPPED", "CANCELLED"}
    cancelled = await sql.fetchval("SELECT count(*) FROM outbox WHERE topic = 'order-cancelled'")
    assert cancelled == outcomes.count("CANCELLED")
    assert inventory.stock["p"] == 1_000 - outcomes.count("SHIPPED")


@pytest.mark.parametrize("before", ["PENDING", "CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED"])
@pytest.mark.parametrize("after", ["PENDING", "CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED"])
async def test_promise_9_only_steps_of_the_state_machine_are_allowed(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any, before: str, after: str
) -> None:
    """Promise 9: all 25 pairs."""
    order = (await place(client)).json()
    await sql.execute(
        "UPDATE orders SET status = $1, lease_until = now() + interval '1 hour',"
        " cancelled_by = CASE WHEN $1 = 'CANCELLED' THEN 'CALLER' END",
        before,
    )
    url = f"/api/orders/{order['id']}/status"
    allowed = (before, after) in {("CONFIRMED", "SHIPPED"), ("SHIPPED", "DELIVERED")}
    response = await client.patch(url, json={"status": after})
    assert response.status_code == (200 if allowed else 400)
    assert await sql.fetchval("SELECT status FROM orders") == (after if allowed else before)


async def test_promise_3_database_refuses_an_impossible_order(
    client: httpx2.AsyncClient, sql: Any
) -> None:
    """Promise 3."""
    await place(client)
    for impossible in (
        "UPDATE orders SET status = 'LOST'",
        "UPDATE orders SET status = 'CANCELLED'",
        "UPDATE orders SET stock_debt = true",
        "UPDATE orders SET total_amount = -1",
        "UPDATE order_items SET quantity = 0",
        "UPDATE order_items SET total_price = 0.01",
    ):
        with pytest.raises(Exception, match="violates check constraint"):
            await sql.execute(impossible)


async def test_most_of_two_hundred_buyers_of_ten_pieces_cost_only_a_check(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    """Promise 1 at order-service: most buyers fail at the stock check, thanks to the limit."""
    inventory.stock["p"] = 10
    answers = await asyncio.gather(*(place(client) for _ in range(200)))
    assert sorted(a.status_code for a in answers) == [201] * 10 + [400] * 190
    assert inventory.calls["check"] == 200
    assert inventory.calls["reduce"] <= 10 + 2 * 16


async def test_wait_for_the_concurrency_limit_beyond_the_deadline_is_503_busy(
    settings: Settings, inventory: FakeInventory, sql: Any
) -> None:
    narrow = settings.model_copy(update={"place_deadline": 0.3, "place_concurrency": 1})
    async with running(create_app(narrow)) as client:
        inventory.hang = True
        answers = await asyncio.gather(*(place(client) for _ in range(5)))
        inventory.hang = False
        kinds = Counter(a.json()["type"] for a in answers)
        assert {a.status_code for a in answers} == {503}
        assert kinds["/problems/busy"] == 4, kinds
        assert inventory.calls["reduce"] == 0
        assert (await place(client)).status_code == 201
