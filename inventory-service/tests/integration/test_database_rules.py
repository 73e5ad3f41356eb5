"""Database constraints refuse invalid states; migrations may run concurrently."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from tests.integration.conftest import alembic, another_database
from tests.stock import Shop

INSERT = """
    INSERT INTO inventory (id, product_id, product_name, quantity, reserved_qty)
    VALUES (gen_random_uuid(), $1, 'P', $2, $3)
"""


@pytest.mark.parametrize(("quantity", "reserved"), [(-1, 0), (0, 1), (5, 6), (5, -1), (-1, -1)])
async def test_promise_3_no_insert_breaks_the_rules(
    shop: Shop, quantity: int, reserved: int
) -> None:
    """Promise 3: 0 <= reserved_qty <= quantity, in SQL."""
    with pytest.raises(asyncpg.CheckViolationError):
        await shop.sql(INSERT, str(uuid4()), quantity, reserved)


@pytest.mark.parametrize(
    "change",
    ["quantity = -1", "reserved_qty = -1", "quantity = 2", "reserved_qty = quantity + 1"],
)
async def test_promise_3_no_update_breaks_the_rules(shop: Shop, change: str) -> None:
    """Promise 3: the constraint also holds for manual SQL."""
    product = await shop.stock(10)
    await shop.put(product, reserved_qty=3)
    with pytest.raises(asyncpg.CheckViolationError):
        await shop.sql(f"UPDATE inventory SET {change} WHERE product_id = $1", product)  # noqa: S608


async def test_promise_3_product_has_one_item(shop: Shop) -> None:
    """Promise 3: UNIQUE(product_id)."""
    product = await shop.stock(10)
    with pytest.raises(asyncpg.UniqueViolationError):
        await shop.sql(INSERT, product, 1, 0)


async def test_promise_3_key_moves_a_product_once(shop: Shop) -> None:
    """Promise 3: the ledger's primary key enforces promise 5."""
    product, key = await shop.stock(10), str(uuid4())
    await shop.reduce({product: 1}, key)
    again = "INSERT INTO stock_movements SELECT * FROM stock_movements WHERE key = $1"
    with pytest.raises(asyncpg.UniqueViolationError):
        await shop.sql(again, key)


async def test_replicas_may_migrate_concurrently_and_downgrade(database_url: str) -> None:
    """One replica migrates; the other waits, then finds nothing to do."""
    async with another_database(database_url) as url:
        both = (asyncio.to_thread(alembic, url, "upgrade", "head") for _ in range(2))
        await asyncio.gather(*both)
        await asyncio.to_thread(alembic, url, "downgrade", "base")
        await asyncio.to_thread(alembic, url, "upgrade", "head")
