"""Orders and their items. Each change of a status is conditional on the status before.

Ages and leases are measured by the database's clock, not by a replica's.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Insert,
    Integer,
    Interval,
    Numeric,
    Row,
    Select,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    func,
    insert,
    literal,
    null,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.order import CancelledBy, IdempotencyKey, Order, OrderItem, OrderStatus
from app.repositories.idempotency_repository import CLAIM, Claim
from chassis.postgres.outbox import EventRow, insert_events

_orders = cast(Table, Order.__table__)
_items = cast(Table, OrderItem.__table__)
_keys = cast(Table, IdempotencyKey.__table__)

_NOW = func.clock_timestamp()
_LEASE = _NOW + bindparam("lease", type_=Interval)
# No parameter has the name of a column of an updated table: SQLAlchemy would add it to SET.
_is_order = _orders.c.id == bindparam("this_order")
_is_pending = _orders.c.status == OrderStatus.PENDING

_NEW_ORDER = (
    _orders.c.id,
    _orders.c.order_number,
    _orders.c.customer_name,
    _orders.c.customer_email,
    _orders.c.total_amount,
)
_ITEM_ARRAYS = {
    "item_ids": Uuid,
    "product_ids": Text,
    "product_names": Text,
    "quantities": Integer,
    "unit_prices": Numeric,
    "total_prices": Numeric,
}


def _place(claim: Insert | None) -> Select[Any]:
    """Build the insert of an order with its items, and with its key if there is one.

    One statement is one transaction and one round trip. The key comes first: while another
    request holds it, the statement waits for the end of that transaction and inserts nothing.
    """
    order = select(
        bindparam("this_order", type_=Uuid),
        *(bindparam(column.name, type_=column.type) for column in _NEW_ORDER[1:]),
        literal(OrderStatus.PENDING, Text),
        _LEASE,
    )
    if claim is not None:
        order = order.select_from(claim.cte("claimed"))
    placed = (
        insert(_orders)
        .from_select([*_NEW_ORDER, _orders.c.status, _orders.c.lease_until], order)
        .returning(_orders.c.id, _orders.c.created_at)
        .cte("placed")
    )
    arrays: list[ColumnElement[Any]] = [
        bindparam(name, type_=ARRAY(type_)) for name, type_ in _ITEM_ARRAYS.items()
    ]
    lines = (
        func.unnest(*arrays).table_valued(*_ITEM_ARRAYS, with_ordinality="line").render_derived()
    )
    columns = ("id", "product_id", "product_name", "quantity", "unit_price", "total_price")
    values = select(placed.c.id, lines.c.line - 1, *(lines.c[name] for name in _ITEM_ARRAYS))
    listed = (
        insert(_items)
        .from_select(["order_id", "position", *columns], values.join_from(placed, lines, true()))
        .cte("listed")
    )
    return select(placed.c.created_at).add_cte(listed)


_PLACE_WITHOUT_KEY = _place(None)
_PLACE_WITH_KEY = _place(CLAIM)

_confirmed = (
    update(_orders)
    .where(_is_order, _is_pending)
    .values(
        status=OrderStatus.CONFIRMED,
        lease_until=None,
        updated_at=bindparam("confirmed_at", type_=DateTime(timezone=True)),
    )
    .returning(_orders.c.id)
    .cte("confirmed")
)
_answered = (
    update(_keys)
    .where(_keys.c.order_id == _confirmed.c.id)
    .values(answer=bindparam("body", type_=Text))
    .cte("answered")
)
_announced = insert_events(_confirmed).cte("announced")
_CONFIRM = select(_confirmed.c.id).add_cte(_answered, _announced)

_stock_debt = bindparam("debt", type_=_orders.c.stock_debt.type)
_CANCEL_PENDING = (
    update(_orders)
    .where(_is_order, _is_pending)
    .values(
        status=OrderStatus.CANCELLED,
        cancelled_by=bindparam("by", type_=Text),
        stock_debt=_stock_debt,
        lease_until=case((_stock_debt, _LEASE), else_=null()),
        updated_at=_NOW,
    )
    .returning(_orders.c.id)
)
_CANCEL = (
    update(_orders)
    .where(_is_order)
    .values(
        status=OrderStatus.CANCELLED,
        cancelled_by=CancelledBy.CALLER,
        cancel_reason=bindparam("reason", type_=Text),
        stock_debt=True,
        lease_until=_LEASE,
        updated_at=_NOW,
    )
    .returning(_orders.c.updated_at)
)
_ADVANCE = (
    update(_orders)
    .where(_is_order, _orders.c.status == bindparam("before", type_=Text))
    .values(status=bindparam("after", type_=Text), updated_at=_NOW)
    .returning(_orders.c.id)
)
_CLAIM_UNFINISHED = (
    update(_orders)
    .where(
        _orders.c.id.in_(
            select(_orders.c.id)
            .where(
                # The predicate of the index orders_to_recover. A literal: PostgreSQL cannot
                # prove that a parameter fits the index.
                (_orders.c.status == literal(OrderStatus.PENDING, Text, literal_execute=True))
                | _orders.c.stock_debt,
                _orders.c.lease_until < _NOW,
            )
            .order_by(_orders.c.lease_until)
            .limit(bindparam("at_most"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(lease_until=_LEASE)
    .returning(_orders.c.id, _orders.c.status)
)
_CLEAR_DEBT = (
    update(_orders)
    .where(_is_order, _orders.c.stock_debt)
    .values(stock_debt=False, lease_until=None)
)
_SELECT: Select[Any] = select(
    *_NEW_ORDER,
    _orders.c.status,
    _orders.c.created_at,
    _orders.c.updated_at,
    _orders.c.cancelled_by,
    _orders.c.cancel_reason,
)
_BY_ID = _SELECT.where(_is_order)
_BY_ID_LOCKED = _BY_ID.with_for_update()
_PAGE = _SELECT.order_by(_orders.c.created_at.desc(), _orders.c.id.desc()).limit(
    bindparam("at_most")
)
_has_status = _orders.c.status == bindparam("status", type_=Text)
_has_email = func.lower(_orders.c.customer_email) == bindparam("email", type_=Text)
_is_after = tuple_(_orders.c.created_at, _orders.c.id) < tuple_(
    bindparam("after_time", type_=_orders.c.created_at.type),
    bindparam("after_id", type_=_orders.c.id.type),
)
_ITEMS = (
    select(_items)
    .where(_items.c.order_id == any_(bindparam("order_ids", type_=ARRAY(Uuid))))
    .order_by(_items.c.order_id, _items.c.position)
)


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the list of orders, newest first: the next page begins after it."""

    created_at: datetime
    order_id: UUID


@dataclass(frozen=True, slots=True)
class Claimed:
    """An order that a recovery loop has leased."""

    id: UUID
    status: str


class OrderNumberTaken(Exception):
    """Another order has the number; nothing was inserted."""


class OrderRepository:
    """Works on the caller's connection and never commits."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add_pending(
        self, order: Order, lease: float, claim: Claim | None = None
    ) -> datetime | None:
        """Insert a PENDING order that its request owns for `lease` seconds.

        Args:
            claim: the key that is stored with the order.

        Returns:
            The time of the insert; None if another request holds the key.

        Raises:
            OrderNumberTaken: nothing was inserted.
        """
        items = order.items
        values: dict[str, Any] = {
            **{column.name: getattr(order, column.name) for column in _NEW_ORDER[1:]},
            "this_order": order.id,
            "lease": timedelta(seconds=lease),
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
            values |= {
                "principal": claim.principal,
                "key": claim.key,
                "request": claim.request,
                "lifetime": timedelta(hours=claim.hours),
            }
        try:
            placed_at: datetime | None = await self._connection.scalar(statement, values)
        except IntegrityError as error:
            if "orders_order_number_key" in str(error.orig):
                raise OrderNumberTaken from error
            raise
        return placed_at

    async def get(self, order_id: UUID, *, for_update: bool = False) -> Order | None:
        statement = _BY_ID_LOCKED if for_update else _BY_ID
        rows = (await self._connection.execute(statement, {"this_order": order_id})).all()
        return (await self._with_items(rows))[0] if rows else None

    async def confirm(self, order_id: UUID, at: datetime, answer: str, event: EventRow) -> bool:
        """Change PENDING to CONFIRMED, and store the response and the event with it.

        Returns:
            False if the order is no longer PENDING; then nothing is written.
        """
        values = {"this_order": order_id, "confirmed_at": at, "body": answer, **event}
        return await self._connection.scalar(_CONFIRM, values) is not None

    async def cancel_pending(
        self, order_id: UUID, by: CancelledBy, *, stock_debt: bool, lease: float = 0.0
    ) -> bool:
        """Change PENDING to CANCELLED. Return False if the order is no longer PENDING.

        Args:
            stock_debt: inventory must reverse the reduction; the caller does so within `lease`
                seconds.
        """
        values = {
            "this_order": order_id,
            "by": by,
            "debt": stock_debt,
            "lease": timedelta(seconds=lease),
        }
        return await self._connection.scalar(_CANCEL_PENDING, values) is not None

    async def cancel(self, order_id: UUID, reason: str | None, lease: float) -> datetime:
        """Change an order that this transaction has locked to CANCELLED; return the time.

        The caller reverses the reduction within `lease` seconds, later the recovery loop does.
        """
        values = {"this_order": order_id, "reason": reason, "lease": timedelta(seconds=lease)}
        cancelled_at: datetime = (await self._connection.execute(_CANCEL, values)).scalar_one()
        return cancelled_at

    async def advance(self, order_id: UUID, before: OrderStatus, after: OrderStatus) -> bool:
        """Change `before` to `after`. Return False if the order's status is not `before`."""
        values = {"this_order": order_id, "before": before, "after": after}
        return await self._connection.scalar(_ADVANCE, values) is not None

    async def claim_unfinished(self, limit: int, lease: float) -> list[Claimed]:
        """Lease up to `limit` orders that are unfinished or in debt and whose lease has expired."""
        values = {"at_most": limit, "lease": timedelta(seconds=lease)}
        rows = await self._connection.execute(_CLAIM_UNFINISHED, values)
        return [Claimed(*row) for row in rows]

    async def clear_debt(self, order_id: UUID) -> None:
        await self._connection.execute(_CLEAR_DEBT, {"this_order": order_id})

    async def page(
        self,
        *,
        limit: int,
        after: Place | None = None,
        status: OrderStatus | None = None,
        email: str | None = None,
    ) -> list[Order]:
        """Return up to `limit` orders, newest first, after a position.

        Args:
            email: in lower case.
        """
        conditions: list[ColumnElement[bool]] = []
        values: dict[str, Any] = {"at_most": limit}
        if status is not None:
            conditions.append(_has_status)
            values["status"] = status
        if email is not None:
            conditions.append(_has_email)
            values["email"] = email
        if after is not None:
            conditions.append(_is_after)
            values |= {"after_time": after.created_at, "after_id": after.order_id}
        rows = await self._connection.execute(_PAGE.where(*conditions), values)
        return await self._with_items(rows.all())

    async def _with_items(self, rows: Sequence[Row[Any]]) -> list[Order]:
        items = await self._items_of([row.id for row in rows]) if rows else {}
        return [_order(row, items[row.id]) for row in rows]

    async def _items_of(self, order_ids: Collection[UUID]) -> dict[UUID, list[OrderItem]]:
        items: dict[UUID, list[OrderItem]] = defaultdict(list)
        for row in await self._connection.execute(_ITEMS, {"order_ids": order_ids}):
            items[row.order_id].append(OrderItem(**row._mapping))
        return items


def _order(row: Row[Any], items: list[OrderItem]) -> Order:
    order = Order(**row._mapping, items=items)
    order.status = OrderStatus(row.status)
    order.cancelled_by = CancelledBy(row.cancelled_by) if row.cancelled_by else None
    return order
