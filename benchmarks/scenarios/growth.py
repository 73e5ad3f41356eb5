"""Cost of orders and of the catalogue in small and in large tables."""

import asyncio
import statistics
from collections.abc import Callable

import asyncpg
import httpx2

from benchmarks.figure import Figure, Measured, Series
from benchmarks.fleet_under_load import FleetUnderLoad
from benchmarks.scenarios import catalogue_growth

_ORDERS = (1_000, 100_000)
_ASKED = 40  # requests for each figure
_GROWN_EMAIL = "growth@example.com"

_INSERT_ORDERS = """
    INSERT INTO orders (id, order_number, customer_name, customer_email, total_amount, status,
                        created_at, updated_at)
    SELECT gen_random_uuid(), 'GROWTH-' || n, 'Growth', $3, 9.99, 'DELIVERED',
           clock_timestamp() - n * interval '1 s', clock_timestamp()
    FROM generate_series($1::int, $2::int) AS n
"""
_INSERT_ITEMS = """
    INSERT INTO order_items (id, order_id, position, product_id, product_name, quantity,
                             unit_price, total_price)
    SELECT gen_random_uuid(), id, 0, 'growth', 'Growth', 1, 9.99, 9.99
    FROM orders WHERE customer_email = $1
    AND NOT EXISTS (SELECT FROM order_items WHERE order_id = orders.id)
"""
_PLANS = {
    "a page of all orders": "SELECT * FROM orders ORDER BY created_at DESC, id DESC LIMIT 51",
    "a page of one customer's orders": """
        SELECT * FROM orders WHERE lower(customer_email) = 'alice@example.com'
        ORDER BY created_at DESC, id DESC LIMIT 51
    """,
    "their items": """
        SELECT * FROM order_items WHERE order_id = ANY(ARRAY(SELECT id FROM orders LIMIT 51))
        ORDER BY order_id, position
    """,
}


def growth(fleet: FleetUnderLoad, seconds: float, say: Callable[[str], None]) -> Measured:
    """Measure direct requests to the services at each table size.

    Rows are inserted directly into the databases. The products remain, so this is the last part.
    """
    measured = asyncio.run(_orders(fleet, say))
    measured.add(catalogue_growth.products(fleet, seconds, say))
    return measured


async def _orders(fleet: FleetUnderLoad, say: Callable[[str], None]) -> Measured:
    admin, alice = fleet.bearer("admin"), fleet.bearer()
    url = fleet.url("order-service") + "/api/orders"
    asked = {
        "a page of all orders": (url, admin),
        "a page of one customer's orders": (f"{url}/me", alice),
    }
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    connection = await asyncpg.connect(fleet.addresses.orders_database)
    try:
        there = 0
        for size in _ORDERS:
            say(f"{size:,} orders")
            await connection.execute(_INSERT_ORDERS, there + 1, size, _GROWN_EMAIL)
            await connection.execute(_INSERT_ITEMS, _GROWN_EMAIL)
            await connection.execute("ANALYZE orders, order_items")  # as autovacuum does soon
            there = size
            for name, (target, headers) in asked.items():
                lines[name].append((size, _median(target, headers)))
        notes = [
            f"{name} of {there:,}: " + "; ".join([r[0].strip() for r in await connection.fetch(
                f"EXPLAIN {query}")])
            for name, query in _PLANS.items()
        ]  # fmt: skip
    finally:
        await connection.execute("DELETE FROM orders WHERE customer_email = $1", _GROWN_EMAIL)
        await connection.close()
    figures = [_ratio(name, points) for name, points in lines.items()]
    return Measured.of(figures, [Series("orders, ms by their number", "ms", lines)], notes)


def _median(url: str, headers: dict[str, str]) -> float:
    with httpx2.Client(headers=headers, timeout=60) as http:
        took = []
        for _ in range(_ASKED):
            answer = http.get(url)
            answer.raise_for_status()
            took.append(answer.elapsed.total_seconds() * 1000)
    return statistics.median(took)


def _ratio(name: str, points: list[tuple[float, float]]) -> Figure:
    (small, before), (large, after) = points[0], points[-1]
    what = f"{name}, {large:,.0f} against {small:,.0f}"
    return Figure("growth", what, after / before, "x")
