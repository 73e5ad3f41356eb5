"""The items: every statement that touches the table `inventory`."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import bindparam, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.inventory import NOW, InventoryItem

# The change and its guard are one statement, and so are the change and its line in the ledger.
_MOVE = text("""
    WITH moved AS (
        UPDATE inventory i
        SET quantity = i.quantity + w.delta, updated_at = clock_timestamp()
        FROM unnest(CAST(:products AS text[]), CAST(:deltas AS bigint[])) AS w (product_id, delta)
        WHERE i.product_id = w.product_id
          AND i.quantity - i.reserved_qty + w.delta >= 0
          AND i.quantity + w.delta <= :ceiling
        RETURNING i.*, w.delta
    ), written AS (
        INSERT INTO stock_movements (key, product_id, kind, delta)
        SELECT CAST(:key AS text), product_id, CAST(:kind AS text), delta FROM moved
    )
    SELECT * FROM moved ORDER BY product_id
""")
_NO_CEILING = 2**62

# Built once: `check` is asked before every order, and building it took a tenth of its time.
_AVAILABLE = select(InventoryItem.quantity - InventoryItem.reserved_qty).where(
    InventoryItem.product_id == bindparam("product_id")
)


class InventoryRepository:
    """Works in the caller's session; nothing here commits."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, product_id: str, name: str, quantity: int) -> InventoryItem | None:
        """The new item, or None where the product has one, of which the loser of a race learns
        here too: ON CONFLICT waits for the other transaction to end."""
        values = {"product_id": product_id, "product_name": name, "quantity": quantity}
        statement = (
            insert(InventoryItem)
            .values(id=uuid4(), reserved_qty=0, **values)
            .on_conflict_do_nothing(index_elements=["product_id"])
            .returning(InventoryItem)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def get(self, product_id: str) -> InventoryItem | None:
        statement = select(InventoryItem).where(InventoryItem.product_id == product_id)
        return (await self._session.scalars(statement)).one_or_none()

    async def get_locked(self, product_id: str) -> InventoryItem | None:
        """The item, which nobody else can change until this transaction ends."""
        statement = (
            select(InventoryItem).where(InventoryItem.product_id == product_id).with_for_update()
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def available(self, product_id: str) -> int | None:
        """What can be sold of a product: one row by its unique index."""
        row = (await self._session.execute(_AVAILABLE, {"product_id": product_id})).one_or_none()
        return None if row is None else int(row[0])

    async def page(self, after: str | None, limit: int) -> Sequence[InventoryItem]:
        """`limit` items in the order of their product ids, which the unique index has."""
        statement = select(InventoryItem).order_by(InventoryItem.product_id).limit(limit)
        if after is not None:
            statement = statement.where(InventoryItem.product_id > after)
        return (await self._session.scalars(statement)).all()

    async def lock(self, products: Collection[str]) -> dict[str, int]:
        """Lock the items of `products` in the order of their ids; returns what each has available.

        Two calls that name the same products in another order then wait for each other, instead of
        each holding what the other wants. A statement of its own, because the next one reads the
        rows as they are now: one that waits for a lock in its middle still sees, and so judges,
        the row from before the wait. Measured with 20 connections against an UPDATE for each
        product: 3 products 25 to 40 % faster, 10 products 45 %, one product the same (and 18 %
        slower where all want the same one).
        """
        statement = (
            select(InventoryItem.product_id, InventoryItem.quantity - InventoryItem.reserved_qty)
            .where(InventoryItem.product_id.in_(products))
            .order_by(InventoryItem.product_id)
            .with_for_update()
        )
        return {row[0]: row[1] for row in await self._session.execute(statement)}

    async def move(
        self, key: str, kind: str, deltas: Mapping[str, int], *, ceiling: int = _NO_CEILING
    ) -> dict[str, InventoryItem]:
        """Add each delta to its product's quantity and to the ledger, where what is left still
        covers what is reserved and does not pass `ceiling`.

        Lock more than one product first. Returns the items that were changed, in the order of
        their ids; who wants all or none rolls back when one is missing.
        """
        parameters = {
            "key": key,
            "kind": kind,
            "products": list(deltas),
            "deltas": list(deltas.values()),
            "ceiling": ceiling,
        }
        statement = select(InventoryItem).from_statement(_MOVE)
        options = {"populate_existing": True}
        moved = await self._session.scalars(statement, parameters, execution_options=options)
        return {item.product_id: item for item in moved}

    async def change(self, product_id: str, values: Mapping[str, Any]) -> InventoryItem:
        """Set columns of an item that this transaction has locked."""
        statement = (
            update(InventoryItem)
            .where(InventoryItem.product_id == product_id)
            .values(**values, updated_at=NOW)
            .returning(InventoryItem)
        )
        options = {"synchronize_session": False, "populate_existing": True}
        return (await self._session.scalars(statement, execution_options=options)).one()

    async def remove(self, product_id: str) -> int | None:
        """Delete an item; the quantity it had, or None where there was none."""
        statement = (
            delete(InventoryItem)
            .where(InventoryItem.product_id == product_id)
            .returning(InventoryItem.quantity)
        )
        options = {"synchronize_session": False}
        return (await self._session.scalars(statement, execution_options=options)).one_or_none()
