"""Inventory items: every statement on the table `inventory`.

Times are clock_timestamp(), not now(): a transaction that waited for a lock began long before.
"""

from collections.abc import Collection, Mapping
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Row,
    Table,
    Text,
    any_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.inventory import InventoryItem, StockMovement
from app.repositories.ledger_repository import CLAIM, deltas

_items = cast(Table, InventoryItem.__table__)
_movements = cast(Table, StockMovement.__table__)

_NOW = func.clock_timestamp()
_available = _items.c.quantity - _items.c.reserved_qty
# No parameter has the name of a column of an updated table: SQLAlchemy would add it to SET.
_is_product = _items.c.product_id == bindparam("product", type_=Text)

_ADD = (
    postgresql.insert(_items)
    .values(
        id=bindparam("new_id", type_=_items.c.id.type),
        product_id=bindparam("product", type_=Text),
        product_name=bindparam("name", type_=Text),
        quantity=bindparam("pieces", type_=BigInteger),
        reserved_qty=0,
    )
    .on_conflict_do_nothing(index_elements=[_items.c.product_id])
    .returning(*_items.c)
)
_GET = select(*_items.c).where(_is_product)
_GET_LOCKED = _GET.with_for_update()
_AVAILABLE = select(_available).where(_is_product)
# No product id is empty, so the first page begins after the empty one.
_PAGE = (
    select(*_items.c)
    .where(_items.c.product_id > bindparam("after", type_=Text))
    .order_by(_items.c.product_id)
    .limit(bindparam("at_most"))
)
_LOCK = (
    select(_items.c.product_id, _available.label("available"))
    .where(_items.c.product_id == any_(bindparam("products", type_=ARRAY(Text))))
    .order_by(_items.c.product_id)
    .with_for_update()
)
_claimed = CLAIM.cte("claimed")
_locked = _LOCK.where(exists().select_from(_claimed)).cte("locked")
_CLAIM_AND_LOCK = select(_locked.c.product_id, _locked.c.available).select_from(
    _claimed.outerjoin(_locked, true())
)

# The change and its condition are one statement, and so are the change and its ledger lines.
_moved = (
    update(_items)
    .where(
        _items.c.product_id == deltas.c.product_id,
        _available + deltas.c.delta >= 0,
        _items.c.quantity + deltas.c.delta <= bindparam("ceiling", type_=BigInteger),
    )
    .values(quantity=_items.c.quantity + deltas.c.delta, updated_at=_NOW)
    .returning(*_items.c, deltas.c.delta)
    .cte("moved")
)
_written = (
    insert(_movements)
    .from_select(
        ["key", "kind", "product_id", "delta"],
        select(
            bindparam("movement_key", type_=Text),
            bindparam("movement_kind", type_=Text),
            _moved.c.product_id,
            _moved.c.delta,
        ),
    )
    .cte("written")
)
_MOVE = (
    select(*(_moved.c[column.name] for column in _items.c))
    .add_cte(_written)
    .order_by(_moved.c.product_id)
)
_CHANGE = (
    update(_items)
    .where(_is_product)
    .values(
        product_name=bindparam("name", type_=Text),
        quantity=bindparam("pieces", type_=BigInteger),
        reserved_qty=bindparam("reserved", type_=BigInteger),
        updated_at=_NOW,
    )
    .returning(*_items.c)
)
_REMOVE = delete(_items).where(_is_product)
_NO_CEILING = 2**62


def _item(row: Row[Any]) -> InventoryItem:
    return InventoryItem(**row._mapping)


class InventoryRepository:
    """Works on the caller's connection and never commits."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, product_id: str, name: str, quantity: int) -> InventoryItem | None:
        """Insert an item. Return None if the product has one.

        ON CONFLICT waits for a concurrent transaction that inserts the same product.
        """
        values = {"new_id": uuid4(), "product": product_id, "name": name, "pieces": quantity}
        row = (await self._connection.execute(_ADD, values)).one_or_none()
        return None if row is None else _item(row)

    async def get(self, product_id: str) -> InventoryItem | None:
        row = (await self._connection.execute(_GET, {"product": product_id})).one_or_none()
        return None if row is None else _item(row)

    async def get_locked(self, product_id: str) -> InventoryItem | None:
        """Return the item, locked until the transaction ends."""
        row = (await self._connection.execute(_GET_LOCKED, {"product": product_id})).one_or_none()
        return None if row is None else _item(row)

    async def available(self, product_id: str) -> int | None:
        """Return the available quantity of a product; None if it has no item."""
        available: int | None = await self._connection.scalar(_AVAILABLE, {"product": product_id})
        return available

    async def page(self, after: str | None, limit: int) -> list[InventoryItem]:
        """Return up to `limit` items in the order of their product ids."""
        values = {"after": after or "", "at_most": limit}
        return [_item(row) for row in await self._connection.execute(_PAGE, values)]

    async def lock(self, products: Collection[str]) -> dict[str, int]:
        """Lock the items of `products` in the order of their ids; return what each has available.

        Two calls with the same products in opposite order wait for each other instead of
        deadlocking. Locking is a statement of its own: a statement that waits for a lock in its
        middle continues with the row version from before the wait, but the next statement reads
        the current rows. Measured with 20 connections against one UPDATE for each product: 3
        products 25 to 40 % faster, 10 products 45 %, one product equal (18 % slower if all
        callers want the same one).
        """
        rows = await self._connection.execute(_LOCK, {"products": list(products)})
        return {row.product_id: row.available for row in rows}

    async def claim_and_lock(
        self, key: str, state: str, request: Mapping[str, Any], products: Collection[str]
    ) -> dict[str, int] | None:
        """Insert the row of a new key, then lock as `lock` does, in one round trip.

        Returns:
            None if the key exists; then nothing is locked.
        """
        values = {
            "movement_key": key,
            "new_state": state,
            "asked": request,
            "told": None,
            "products": list(products),
        }
        rows = (await self._connection.execute(_CLAIM_AND_LOCK, values)).all()
        if not rows:
            return None
        return {row.product_id: row.available for row in rows if row.product_id is not None}

    async def move(
        self, key: str, kind: str, deltas: Mapping[str, int], *, ceiling: int = _NO_CEILING
    ) -> dict[str, InventoryItem]:
        """Add each delta to its product's quantity, and write the ledger lines.

        This is the rule that stock is never oversold: an item changes only if the new quantity
        covers what is reserved and is at most `ceiling`. Lock more than one product first.

        Returns:
            The changed items in the order of their ids. A caller that needs all of them rolls
            back if one is missing.
        """
        values = {
            "movement_key": key,
            "movement_kind": kind,
            "products": list(deltas),
            "deltas": list(deltas.values()),
            "ceiling": ceiling,
        }
        rows = await self._connection.execute(_MOVE, values)
        return {row.product_id: _item(row) for row in rows}

    async def change(
        self, product_id: str, name: str, quantity: int, reserved_qty: int
    ) -> InventoryItem:
        """Set the fields of an item that this transaction has locked."""
        values = {
            "product": product_id,
            "name": name,
            "pieces": quantity,
            "reserved": reserved_qty,
        }
        return _item((await self._connection.execute(_CHANGE, values)).one())

    async def remove(self, product_id: str) -> None:
        """Delete an item that this transaction has locked."""
        await self._connection.execute(_REMOVE, {"product": product_id})
