"""The SQL statements of an order without the services: an upper bound for the order rate."""

import asyncio
import json
import time
from uuid import uuid4

import asyncpg

from tests.judge.target import Addresses

_PRODUCT = "floor"
_STOCK = """
    INSERT INTO inventory (id, product_id, product_name, quantity, reserved_qty)
    VALUES ($1, $2, 'Floor', 100000000, 0) ON CONFLICT (product_id) DO NOTHING
"""
_KEY = "INSERT INTO idempotency_keys (principal, key, request, order_id) VALUES ($1, $2, $3, $4)"
_ORDER = """
    INSERT INTO orders (id, order_number, customer_name, customer_email, total_amount, status,
                        lease_until)
    VALUES ($1, $2, 'Floor', 'floor@example.com', 9.99, 'PENDING',
            clock_timestamp() + interval '15 s')
"""
_ITEM = """
    INSERT INTO order_items (id, order_id, position, product_id, product_name, quantity,
                             unit_price, total_price)
    VALUES ($1, $2, 0, $3, 'Floor', 1, 9.99, 9.99)
"""
_CLAIM = "INSERT INTO movement_keys (key, request, state) VALUES ($1, $2, 'taken')"
_TAKE = "UPDATE inventory SET quantity = quantity - 1 WHERE product_id = $1 AND quantity >= 1"
_LEDGER = "INSERT INTO stock_movements (key, product_id, kind, delta) VALUES ($1, $2, 'reduce', -1)"
_CONFIRM = """
    UPDATE orders SET status = 'CONFIRMED', lease_until = NULL
    WHERE id = $1 AND status = 'PENDING'
"""
_ANSWER = "UPDATE idempotency_keys SET answer = $2 WHERE order_id = $1"
_GONE = (
    "DELETE FROM orders WHERE customer_email = 'floor@example.com'",
    "DELETE FROM stock_movements WHERE product_id = 'floor'",
    "DELETE FROM movement_keys WHERE key LIKE 'floor %'",
    "DELETE FROM inventory WHERE product_id = 'floor'",
)


async def rate(addresses: Addresses, connections: int, seconds: float) -> float:
    """Return orders per second with this number of connections to each database.

    Writes the rows of a placed order in the same three transactions, except the outbox event,
    which the relay would publish.
    """
    orders = await asyncpg.create_pool(
        addresses.orders_database, min_size=connections, max_size=connections
    )
    stock = await asyncpg.create_pool(
        addresses.inventory_database, min_size=connections, max_size=connections
    )
    done, ends = 0, time.monotonic() + seconds

    async def place_until_the_end() -> None:
        nonlocal done
        while time.monotonic() < ends:
            await _place(orders, stock)
            done += 1

    try:
        await stock.execute(_STOCK, uuid4(), _PRODUCT)
        began = time.monotonic()
        await asyncio.gather(*(place_until_the_end() for _ in range(connections)))
        return done / (time.monotonic() - began)
    finally:
        await orders.execute(_GONE[0])
        for statement in _GONE[1:]:
            await stock.execute(statement)
        await orders.close()
        await stock.close()


async def _place(orders: "asyncpg.Pool", stock: "asyncpg.Pool") -> None:
    order, key = uuid4(), uuid4().hex
    async with orders.acquire() as connection, connection.transaction():
        await connection.execute(_KEY, "floor", key, "{}", order)
        await connection.execute(_ORDER, order, f"FLOOR-{key}")
        await connection.execute(_ITEM, uuid4(), order, _PRODUCT)
    async with stock.acquire() as connection, connection.transaction():
        await connection.execute(_CLAIM, f"floor {key}", json.dumps({}))
        await connection.execute(_TAKE, _PRODUCT)
        await connection.execute(_LEDGER, f"floor {key}", _PRODUCT)
    async with orders.acquire() as connection, connection.transaction():
        await connection.execute(_CONFIRM, order)
        await connection.execute(_ANSWER, order, "{}")
