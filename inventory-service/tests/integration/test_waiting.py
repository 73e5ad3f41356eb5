"""What a call sees that had to wait for another's lock: the database as it is after the wait.

Each of these went wrong in a statement that both locks and judges: PostgreSQL first judges the row
from before the wait, and even checks its constraints on it.
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
async def somebody_changes(shop: Shop, product: str, change: str) -> AsyncIterator[None]:
    """Another transaction has made `change` to the product's row, and commits at the end."""
    async with shop.database.transaction() as connection:
        statement = f"UPDATE inventory SET {change} WHERE product_id = $1"  # noqa: S608
        await connection.execute(statement, product)
        yield


async def started_and_waiting(
    shop: Shop, call: Awaitable[httpx2.Response]
) -> asyncio.Task[httpx2.Response]:
    """The call's task, once the database shows that somebody waits for a lock."""
    task = asyncio.ensure_future(call)
    async with asyncio.timeout(10):
        while not (await shop.sql(WAITING))[0]["calls"]:
            await asyncio.sleep(0.01)
    return task


@pytest.mark.parametrize("change", ["quantity = 5", "quantity = 9, reserved_qty = 0"])
async def test_a_restock_that_commits_during_the_wait_is_not_overlooked(
    shop: Shop, change: str
) -> None:
    a, b = await shop.stock(10, new_id("a")), await shop.stock(2, new_id("b"))
    await shop.put(b, reserved_qty=1)
    async with somebody_changes(shop, b, change):
        reduction = await started_and_waiting(shop, shop.reduce({a: 1, b: 4}))
    assert (await reduction).status_code == 200, (await reduction).text


async def test_a_purchase_that_commits_during_the_wait_is_not_overlooked(shop: Shop) -> None:
    """Promise 1, with the order of events made certain."""
    a, b = await shop.stock(10, new_id("a")), await shop.stock(5, new_id("b"))
    async with somebody_changes(shop, b, "quantity = 3"):
        reduction = await started_and_waiting(shop, shop.reduce({a: 1, b: 4}))
    answer = await reduction
    assert answer.status_code == 400
    assert answer.json()["shortages"] == [{"product_id": b, "requested": 4, "available_qty": 3}]
    assert await shop.quantity(a) == 10


async def test_a_restock_sees_the_room_that_was_made_during_its_wait(shop: Shop) -> None:
    product = await shop.stock(1_000_000_000)
    async with somebody_changes(shop, product, "quantity = 5"):
        restock = await started_and_waiting(shop, shop.move("restock", product, 4))
    assert (await restock).json()["quantity"] == 9


async def test_a_reduce_waits_for_the_reversal_that_has_its_key(shop: Shop) -> None:
    """Serial for each key, also while the key's row is not committed yet."""
    product, key = await shop.stock(5), str(uuid4())
    async with shop.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO movement_keys (key, state, answer) VALUES ($1, 'reversed', $2)",
            key,
            '{"returned":[]}',
        )
        reduction = await started_and_waiting(shop, shop.reduce({product: 1}, key))
    assert (await reduction).status_code == 409
    assert await shop.quantity(product) == 5


async def test_a_reversal_waits_for_the_reduce_that_has_its_key(shop: Shop) -> None:
    """The reduction has the key and waits for its row; the reversal comes, and gives back all."""
    product, key = await shop.stock(5), str(uuid4())
    async with somebody_changes(shop, product, "product_name = 'locked'"):
        reduction = await started_and_waiting(shop, shop.reduce({product: 1}, key))
        reversal = asyncio.create_task(shop.reverse(key))
        async with asyncio.timeout(10):
            while (await shop.sql(WAITING))[0]["calls"] < 2:
                await asyncio.sleep(0.01)
    assert (await reduction).status_code == 200
    assert (await reversal).json() == {"returned": [{"product_id": product, "quantity": 1}]}
    assert await shop.quantity(product) == 5
