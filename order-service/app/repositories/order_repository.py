"""Orders in PostgreSQL. Every change of a status is guarded by the status it came from.

All ages and leases are told by the database's clock, never by a replica's.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from app.models.order import CancelledBy, NewOrder, Order, OrderItem, OrderStatus
from app.repositories.idempotency_repository import CLAIM, Claim
from app.repositories.statement import Statement
from chassis.postgres.database import Connection
from chassis.postgres.outbox import INSERT_EVENT, EventRow

# One statement, so one transaction and one round trip: the key, the order and its items. The key
# comes first: where another request holds it, this waits for that one's end and inserts nothing.
_PLACE = """
    placed AS (
        INSERT INTO orders (id, order_number, customer_name, customer_email, total_amount, status,
                            lease_until)
        SELECT :id, :order_number, :customer_name, :customer_email, :total_amount, 'PENDING',
               clock_timestamp() + :lease::float8 * interval '1 second'
        {claimed}
        RETURNING created_at
    ), listed AS (
        INSERT INTO order_items (order_id, position, id, product_id, product_name, quantity,
                                 unit_price, total_price)
        SELECT :id, line - 1, item, product, name, quantity, price, total
        FROM placed, unnest(:item_ids::uuid[], :product_ids::text[], :product_names::text[],
                            :quantities::int[], :unit_prices::numeric[], :total_prices::numeric[])
             WITH ORDINALITY AS lines (item, product, name, quantity, price, total, line)
    )
    SELECT created_at FROM placed
"""
_PLACE_WITHOUT_KEY = Statement(f"WITH {_PLACE.format(claimed='')}")
_PLACE_WITH_KEY = Statement(f"WITH claimed AS ({CLAIM}), {_PLACE.format(claimed='FROM claimed')}")

_NUMBER_CONSTRAINT = "orders_order_number_key"

_CONFIRM = f"""
    WITH confirmed AS (
        UPDATE orders SET status = 'CONFIRMED', lease_until = NULL, updated_at = $2
        WHERE id = $1 AND status = 'PENDING'
        RETURNING id
    ), answered AS (
        UPDATE idempotency_keys SET answer = $3 FROM confirmed WHERE order_id = confirmed.id
    ), announced AS (
        {INSERT_EVENT} SELECT $4::uuid, $5, $6, $7, $8 FROM confirmed
    )
    SELECT id FROM confirmed
"""  # noqa: S608  constants
_CANCEL_PENDING = """
    UPDATE orders
    SET status = 'CANCELLED', cancelled_by = $2, stock_debt = $3,
        lease_until = CASE WHEN $3 THEN clock_timestamp() + $4::float8 * interval '1 second' END,
        updated_at = clock_timestamp()
    WHERE id = $1 AND status = 'PENDING'
    RETURNING id
"""
_CANCEL = """
    UPDATE orders
    SET status = 'CANCELLED', cancelled_by = 'CALLER', cancel_reason = $2, stock_debt = true,
        lease_until = clock_timestamp() + $3::float8 * interval '1 second',
        updated_at = clock_timestamp()
    WHERE id = $1
    RETURNING updated_at
"""
_ADVANCE = """
    UPDATE orders SET status = $3, updated_at = clock_timestamp()
    WHERE id = $1 AND status = $2
    RETURNING id
"""
# Word for word the predicate of a partial index.
_CLAIM_UNFINISHED = """
    UPDATE orders SET lease_until = clock_timestamp() + $2::float8 * interval '1 second'
    WHERE id IN (
        SELECT id FROM orders
        WHERE (status = 'PENDING' OR stock_debt) AND lease_until < clock_timestamp()
        ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, status
"""
_CLEAR_DEBT = (
    "UPDATE orders SET stock_debt = false, lease_until = NULL WHERE id = $1 AND stock_debt"
)
_SELECT = """
    SELECT id, order_number, customer_name, customer_email, total_amount, status, created_at,
           updated_at, cancelled_by, cancel_reason
    FROM orders
"""
_ITEMS = """
    SELECT order_id, id, product_id, product_name, quantity, unit_price, total_price
    FROM order_items WHERE order_id = ANY($1) ORDER BY order_id, position
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list of orders, newest first: where the next page begins."""

    created_at: datetime
    order_id: UUID


@dataclass(frozen=True, slots=True)
class Claimed:
    """An order that a recovery loop has leased for itself."""

    id: UUID
    status: str


class OrderNumberTaken(Exception):
    """Another order has the number; nothing was inserted."""


class OrderRepository:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add_pending(
        self, order: NewOrder, lease: float, claim: Claim | None = None
    ) -> datetime | None:
        """Insert a PENDING order that belongs to its request for `lease` seconds.

        Args:
            claim: the key that is taken with it.

        Returns:
            When that was; None where another request holds the key, and nothing was inserted.

        Raises:
            OrderNumberTaken: nothing was inserted.
        """
        items = order.items
        values = {name: getattr(order, name) for name in NewOrder.__slots__} | {
            "lease": lease,
            "item_ids": [item.id for item in items],
            "product_ids": [item.product_id for item in items],
            "product_names": [item.product_name for item in items],
            "quantities": [item.quantity for item in items],
            "unit_prices": [item.unit_price for item in items],
            "total_prices": [item.total_price for item in items],
        }
        statement = _PLACE_WITHOUT_KEY
        if claim is not None:
            statement = _PLACE_WITH_KEY
            values |= {name: getattr(claim, name) for name in Claim.__slots__}
        try:
            placed_at: datetime | None = await self._connection.fetchval(
                statement.text, *statement.arguments(values)
            )
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == _NUMBER_CONSTRAINT:
                raise OrderNumberTaken from error
            raise
        return placed_at

    async def get(self, order_id: UUID, *, for_update: bool = False) -> Order | None:
        lock = " FOR UPDATE" if for_update else ""
        row = await self._connection.fetchrow(f"{_SELECT} WHERE id = $1{lock}", order_id)
        return (await self._with_items([row]))[0] if row else None

    async def confirm(self, order_id: UUID, at: datetime, answer: str, event: EventRow) -> bool:
        """PENDING → CONFIRMED, the stored answer and the event, all or nothing.

        Returns:
            False if the order is PENDING no more; then nothing is written.
        """
        confirmed = await self._connection.fetchval(_CONFIRM, order_id, at, answer, *event)
        return confirmed is not None

    async def cancel_pending(
        self, order_id: UUID, by: CancelledBy, *, stock_debt: bool, lease: float = 0.0
    ) -> bool:
        """PENDING → CANCELLED; False if the order is PENDING no more.

        Args:
            stock_debt: inventory is owed a reverse; `lease` seconds it is the caller's to pay.
        """
        cancelled = await self._connection.fetchval(
            _CANCEL_PENDING, order_id, by, stock_debt, lease
        )
        return cancelled is not None

    async def cancel(self, order_id: UUID, reason: str | None, lease: float) -> datetime:
        """An order that this transaction has locked → CANCELLED, its stock owed; when that was.

        For `lease` seconds the debt is the caller's to pay, then the recovery loop's.
        """
        moment: datetime = await self._connection.fetchval(_CANCEL, order_id, reason, lease)
        return moment

    async def advance(self, order_id: UUID, before: OrderStatus, after: OrderStatus) -> bool:
        """`before` → `after`; False if the order is not (any more) in `before`."""
        return await self._connection.fetchval(_ADVANCE, order_id, before, after) is not None

    async def claim_unfinished(self, limit: int, lease: float) -> list[Claimed]:
        """Lease up to `limit` orders whose lease has run out and that are half done or in debt."""
        rows = await self._connection.fetch(_CLAIM_UNFINISHED, limit, lease)
        return [Claimed(*row) for row in rows]

    async def clear_debt(self, order_id: UUID) -> None:
        await self._connection.execute(_CLEAR_DEBT, order_id)

    async def page(
        self,
        *,
        limit: int,
        after: Place | None = None,
        status: OrderStatus | None = None,
        email: str | None = None,
    ) -> list[Order]:
        """Up to `limit` orders, newest first, from after a place on; `email` in lower case."""
        conditions: list[str] = []
        values: list[Any] = []

        def require(condition: str, *given: Any) -> None:
            numbers = (f"${len(values) + n}" for n in range(1, len(given) + 1))
            conditions.append(condition.format(*numbers))
            values.extend(given)

        if status is not None:
            require("status = {}", status)
        if email is not None:
            require("lower(customer_email) = {}", email)
        if after is not None:
            require("(created_at, id) < ({}, {})", after.created_at, after.order_id)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        order = f"ORDER BY created_at DESC, id DESC LIMIT ${len(values) + 1}"
        rows = await self._connection.fetch(f"{_SELECT} {where} {order}", *values, limit)
        return await self._with_items(rows)

    async def _with_items(self, rows: Sequence[Any]) -> list[Order]:
        items = await self._items_of([row["id"] for row in rows]) if rows else {}
        return [_order(row, tuple(items[row["id"]])) for row in rows]

    async def _items_of(self, order_ids: Collection[UUID]) -> dict[UUID, list[OrderItem]]:
        items: dict[UUID, list[OrderItem]] = defaultdict(list)
        for order_id, *values in await self._connection.fetch(_ITEMS, order_ids):
            items[order_id].append(OrderItem(*values))
        return items


def _order(row: Any, items: tuple[OrderItem, ...]) -> Order:
    fields, by = dict(row), row["cancelled_by"]
    fields["status"] = OrderStatus(row["status"])
    fields["cancelled_by"] = CancelledBy(by) if by else None
    return Order(**fields, items=items)
