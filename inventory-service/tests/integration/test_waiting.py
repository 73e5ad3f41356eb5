"""A call that waits for a row lock decides by the state after the wait.

Each test failed with a statement that both locks and tests a row: PostgreSQL first evaluates the
row version from before the wait, and even checks constraints on it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx2
import pytest

from tests.stock import Shop, new_id

WAITING = """
    SELECT count(*) AS calls FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def uncommitted_change(shop: Shop, product: str, change: str) -> AsyncIterator[None]:
    """Hold an open transaction that applied `change` to the product's row; commit at the end."""
    async with shop.transaction() as connection:
        statement = f"UPDATE inventory SET {change} WHERE product_id = $1"  # noqa: S608
        await connection.execute(statement, product)
        yield


async def started_and_waiting(
    shop: Shop, call: Awaitable[httpx2.Response]
) -> asyncio.Task[httpx2.Response]:
    """Return the task of the call once the database shows a session that waits for a lock."""
    task = asyncio.ensure_future(call)
    async with asyncio.timeout(10):
        while not (await shop.sql(WAITING))[0]["calls"]:
            await asyncio.sleep(0.01)
    return task


FROM = pytest.mark.parametrize("first", [10, 100], ids=["falls low", "stays"])
"""Initial stock of the product without contention: from 10, taking one piece causes a low-stock
event; from 100 it does not."""


@FROM
@pytest.mark.parametrize("change", ["quantity = 5", "quantity = 9, reserved_qty = 0"])
async def test_reduction_uses_a_restock_committed_during_its_wait(
    shop: Shop, change: str, first: int
) -> None:
    a, b = await shop.stock(first, new_id("a")), await shop.stock(2, new_id("b"))
    await shop.put(b, reserved_qty=1)
    async with uncommitted_change(shop, b, change):
        reduction = await started_and_waiting(shop, shop.reduce({a: 1, b: 4}))
    assert (await reduction).status_code == 200, (await reduction).text


@FROM
async def test_reduction_respects_a_sale_committed_during_its_wait(shop: Shop, first: int) -> None:
    """Promise 1, with a deterministic order of events."""
    a, b = await shop.stock(first, new_id("a")), await shop.stock(5, new_id("b"))
    async with uncommitted_change(shop, b, "quantity = 3"):
        reduction = await started_and_waiting(shop, shop.reduce({a: 1, b: 4}))
    answer = await reduction
    assert answer.status_code == 400
    assert answer.json()["shortages"] == [{"product_id": b, "requested": 4, "available_qty": 3}]
    assert await shop.quantity(a) == first


@pytest.mark.parametrize(
    ("before", "change", "status", "left"),
    [
        (5, "quantity = 3", 400, 3),
        (5, "quantity = 2, reserved_qty = 0", 400, 2),
        (5, "quantity = 6, reserved_qty = 3", 400, 6),
        (2, "quantity = 9", 200, 5),
        (50, "quantity = 4", 200, 0),
    ],
)
async def test_one_product_reduction_decides_by_the_state_after_its_wait(
    shop: Shop, before: int, change: str, status: int, left: int
) -> None:
    """For a reduction of one product, the most frequent case."""
    product = await shop.stock(before)
    async with uncommitted_change(shop, product, change):
        reduction = await started_and_waiting(shop, shop.reduce({product: 4}))
    assert (await reduction).status_code == status, (await reduction).text
    assert await shop.quantity(product) == left


@pytest.mark.parametrize(
    ("before", "change", "told"),
    [(100, "quantity = 12", 1), (12, "quantity = 100", 0), (100, "quantity = 9", 0)],
)
async def test_fall_is_computed_from_the_quantity_after_the_wait(
    shop: Shop, before: int, change: str, told: int
) -> None:
    """The fall is computed from the committed change, not from the quantity before the wait."""
    product = await shop.stock(before)
    async with uncommitted_change(shop, product, change):
        reduction = await started_and_waiting(shop, shop.reduce({product: 5}))
    assert (await reduction).status_code == 200, (await reduction).text
    assert len(await shop.low_events(product)) == told


async def test_product_deleted_during_the_wait_is_unknown(shop: Shop) -> None:
    product, key = await shop.stock(100), str(uuid4())
    async with shop.transaction() as connection:
        await connection.execute("DELETE FROM inventory WHERE product_id = $1", product)
        reduction = await started_and_waiting(shop, shop.reduce({product: 1}, key))
    assert (await reduction).status_code == 404
    assert await shop.sql("SELECT 1 FROM movement_keys WHERE key = $1", key) == []


async def test_restock_uses_capacity_freed_during_its_wait(shop: Shop) -> None:
    product = await shop.stock(1_000_000_000)
    async with uncommitted_change(shop, product, "quantity = 5"):
        restock = await started_and_waiting(shop, shop.move("restock", product, 4))
    assert (await restock).json()["quantity"] == 9


async def test_reduction_waits_for_the_reversal_with_its_key(shop: Shop) -> None:
    """Calls with one key are serialised, even while its row is not committed."""
    product, key = await shop.stock(5), str(uuid4())
    async with shop.transaction() as connection:
        await connection.execute(
            "INSERT INTO movement_keys (key, state, answer) VALUES ($1, 'reversed', $2)",
            key,
            '{"returned":[]}',
        )
        reduction = await started_and_waiting(shop, shop.reduce({product: 1}, key))
    assert (await reduction).status_code == 409
    assert await shop.quantity(product) == 5


async def test_reversal_waits_for_the_reduction_with_its_key(shop: Shop) -> None:
    """The reduction holds the key and waits for its row; the reversal then returns everything."""
    product, key = await shop.stock(5), str(uuid4())
    async with uncommitted_change(shop, product, "product_name = 'locked'"):
        reduction = await started_and_waiting(shop, shop.reduce({product: 1}, key))
        reversal = asyncio.create_task(shop.reverse(key))
        async with asyncio.timeout(10):
            while (await shop.sql(WAITING))[0]["calls"] < 2:
                await asyncio.sleep(0.01)
    assert (await reduction).status_code == 200
    assert (await reversal).json() == {"returned": [{"product_id": product, "quantity": 1}]}
    assert await shop.quantity(product) == 5


async def two_with_one_key(
    shop: Shop, product: str, change: str, *pieces: int
) -> list[httpx2.Response]:
    """Run two reductions: one holds the key and waits for the row, the other waits for the key."""
    key = str(uuid4())
    async with uncommitted_change(shop, product, change):
        first = await started_and_waiting(shop, shop.reduce({product: pieces[0]}, key))
        second = asyncio.create_task(shop.reduce({product: pieces[1]}, key))
        async with asyncio.timeout(10):
            while (await shop.sql(WAITING))[0]["calls"] < 2:
                await asyncio.sleep(0.01)
    return [await first, await second]


async def test_repeat_waits_for_the_call_with_its_key(shop: Shop) -> None:
    """Promise 5, with a deterministic order of events."""
    product = await shop.stock(100)
    first, second = await two_with_one_key(shop, product, "product_name = 'Q'", 2, 2)
    assert first.json()[0]["quantity"] == 98
    assert (second.status_code, second.content) == (200, first.content)
    assert await shop.quantity(product) == 98


async def test_other_request_with_the_same_key_waits_and_is_refused(shop: Shop) -> None:
    product = await shop.stock(100)
    first, second = await two_with_one_key(shop, product, "product_name = 'Q'", 2, 3)
    assert (first.status_code, second.status_code) == (200, 422)
    assert await shop.quantity(product) == 98


async def test_key_of_a_refused_reduction_is_used_by_the_waiting_call(shop: Shop) -> None:
    """After its wait the first lacks stock and releases the key; the second uses it.

    The first then gets 400, or 422 if the second holds the key when it reads the shortages.
    """
    product = await shop.stock(100)
    first, second = await two_with_one_key(shop, product, "quantity = 30", 50, 12)
    assert second.status_code == 200
    assert first.status_code in (400, 422)
    assert await shop.quantity(product) == 18
