"""The items: every statement that touches the table `inventory`.

Times are clock_timestamp(), not now(): a transaction that waited for a lock began long before.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import uuid4

from app.models.inventory import InventoryItem
from chassis.postgres.database import Connection

_ADD = """
    INSERT INTO inventory (id, product_id, product_name, quantity, reserved_qty)
    VALUES ($1, $2, $3, $4, 0)
    ON CONFLICT (product_id) DO NOTHING
    RETURNING id, product_id, product_name, quantity, reserved_qty, created_at, updated_at
"""
_GET = """
    SELECT id, product_id, product_name, quantity, reserved_qty, created_at, updated_at
    FROM inventory WHERE product_id = $1
"""
_GET_LOCKED = f"{_GET} FOR UPDATE"
_AVAILABLE = "SELECT quantity - reserved_qty FROM inventory WHERE product_id = $1"
# No product id is empty, so that the first page begins behind the empty one.
_PAGE = """
    SELECT id, product_id, product_name, quantity, reserved_qty, created_at, updated_at
    FROM inventory WHERE product_id > $1 ORDER BY product_id LIMIT $2
"""
_LOCK = """
    SELECT product_id, quantity - reserved_qty AS available
    FROM inventory WHERE product_id = ANY ($1::text[])
    ORDER BY product_id
    FOR UPDATE
"""
# The change and its guard are one statement, and so are the change and its line in the ledger.
_MOVE = """
    WITH moved AS (
        UPDATE inventory i
        SET quantity = i.quantity + w.delta, updated_at = clock_timestamp()
        FROM unnest($3::text[], $4::bigint[]) AS w (product_id, delta)
        WHERE i.product_id = w.product_id
          AND i.quantity - i.reserved_qty + w.delta >= 0
          AND i.quantity + w.delta <= $5
        RETURNING i.*, w.delta
    ), written AS (
        INSERT INTO stock_movements (key, product_id, kind, delta)
        SELECT $1, product_id, $2, delta FROM moved
    )
    SELECT id, product_id, product_name, quantity, reserved_qty, created_at, updated_at
    FROM moved ORDER BY product_id
"""
_CHANGE = """
    UPDATE inventory
    SET product_name = $2, quantity = $3, reserved_qty = $4, updated_at = clock_timestamp()
    WHERE product_id = $1
    RETURNING id, product_id, product_name, quantity, reserved_qty, created_at, updated_at
"""
_REMOVE = "DELETE FROM inventory WHERE product_id = $1"
_NO_CEILING = 2**62


def _item(row: Any) -> InventoryItem:
    return InventoryItem(**row)


class InventoryRepository:
    """Works on the caller's connection; nothing here commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, product_id: str, name: str, quantity: int) -> InventoryItem | None:
        """The new item, or None where the product has one, of which the loser of a race learns
        here too: ON CONFLICT waits for the other transaction to end."""
        row = await self._connection.fetchrow(_ADD, uuid4(), product_id, name, quantity)
        return None if row is None else _item(row)

    async def get(self, product_id: str) -> InventoryItem | None:
        row = await self._connection.fetchrow(_GET, product_id)
        return None if row is None else _item(row)

    async def get_locked(self, product_id: str) -> InventoryItem | None:
        """The item, which nobody else can change until this transaction ends."""
        row = await self._connection.fetchrow(_GET_LOCKED, product_id)
        return None if row is None else _item(row)

    async def available(self, product_id: str) -> int | None:
        """What can be sold of a product: one row by its unique index."""
        available: int | None = await self._connection.fetchval(_AVAILABLE, product_id)
        return available

    async def page(self, after: str | None, limit: int) -> list[InventoryItem]:
        """`limit` items in the order of their product ids, which the unique index has."""
        return [_item(row) for row in await self._connection.fetch(_PAGE, after or "", limit)]

    async def lock(self, products: Collection[str]) -> dict[str, int]:
        """Lock the items of `products` in the order of their ids; returns what each has available.

        Two calls that name the same products in another order then wait for each other, instead of
        each holding what the other wants. A statement of its own, because the next one reads the
        rows as they are now: one that waits for a lock in its middle still sees, and so judges,
        the row from before the wait. Measured with 20 connections against an UPDATE for each
        product: 3 products 25 to 40 % faster, 10 products 45 %, one product the same (and 18 %
        slower where all want the same one).
        """
        return dict(await self._connection.fetch(_LOCK, list(products)))

    async def move(
        self, key: str, kind: str, deltas: Mapping[str, int], *, ceiling: int = _NO_CEILING
    ) -> dict[str, InventoryItem]:
        """Add each delta to its product's quantity and to the ledger, where what is left still
        covers what is reserved and does not pass `ceiling`.

        Lock more than one product first. Returns the items that were changed, in the order of
        their ids; who wants all or none rolls back when one is missing.
        """
        rows = await self._connection.fetch(
            _MOVE, key, kind, list(deltas), list(deltas.values()), ceiling
        )
        return {row["product_id"]: _item(row) for row in rows}

    async def change(
        self, product_id: str, name: str, quantity: int, reserved_qty: int
    ) -> InventoryItem:
        """Set an item that this transaction has locked."""
        return _item(
            await self._connection.fetchrow(_CHANGE, product_id, name, quantity, reserved_qty)
        )

    async def remove(self, product_id: str) -> None:
        """Delete an item that this transaction has locked."""
        await self._connection.execute(_REMOVE, product_id)
