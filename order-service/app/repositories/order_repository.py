"""Orders in PostgreSQL. Every change of a status is guarded by the status it came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from app.models.order import UNFINISHED, CancelledBy, Order, OrderItem, OrderStatus

NOW = func.clock_timestamp()  # the database's clock: all ages and leases are told by this one


def in_seconds(seconds: float) -> Any:
    return NOW + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


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
    stock_debt: bool


class OrderRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add_pending(self, order: Order, items: Sequence[OrderItem], lease: float) -> None:
        """Insert a PENDING order that belongs to its request for `lease` seconds."""
        columns = ("id", "order_number", "customer_name", "customer_email", "total_amount")
        values = {name: getattr(order, name) for name in columns}
        statement = (
            insert(Order)
            .values(**values, status=OrderStatus.PENDING, lease_until=in_seconds(lease))
            .returning(Order.created_at)
        )
        order.created_at = (await self._session.execute(statement)).scalar_one()
        item_columns = (
            "id",
            "order_id",
            "position",
            "product_id",
            "product_name",
            "quantity",
            "unit_price",
            "total_price",
        )
        rows = [{name: getattr(item, name) for name in item_columns} for item in items]
        await self._session.execute(insert(OrderItem).values(rows))

    async def get(self, order_id: UUID, *, for_update: bool = False) -> Order | None:
        statement = _with_items(select(Order).where(Order.id == order_id))
        if for_update:
            statement = statement.with_for_update()
        return (await self._session.scalars(statement)).one_or_none()

    async def confirm(self, order_id: UUID) -> datetime | None:
        """PENDING → CONFIRMED; the time of it, or None if the order is PENDING no more."""
        statement = (
            update(Order)
            .where(Order.id == order_id, Order.status == OrderStatus.PENDING)
            .values(status=OrderStatus.CONFIRMED, lease_until=None, updated_at=NOW)
            .returning(Order.updated_at)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def cancel_pending(
        self, order_id: UUID, by: CancelledBy, *, stock_debt: bool, lease: float = 0.0
    ) -> bool:
        """PENDING → CANCELLED; False if the order is PENDING no more.

        Args:
            stock_debt: inventory is owed a reverse; `lease` seconds it is the caller's to pay.
        """
        statement = (
            update(Order)
            .where(Order.id == order_id, Order.status == OrderStatus.PENDING)
            .values(
                status=OrderStatus.CANCELLED,
                cancelled_by=by,
                stock_debt=stock_debt,
                lease_until=in_seconds(lease) if stock_debt else None,
                updated_at=NOW,
            )
            .returning(Order.id)
        )
        return (await self._session.execute(statement)).first() is not None

    async def advance(self, order_id: UUID, before: OrderStatus, after: OrderStatus) -> bool:
        """`before` → `after`; False if the order is not (any more) in `before`."""
        statement = (
            update(Order)
            .where(Order.id == order_id, Order.status == before)
            .values(status=after, updated_at=NOW)
            .returning(Order.id)
        )
        return (await self._session.execute(statement)).first() is not None

    async def claim_unfinished(self, limit: int, lease: float) -> list[Claimed]:
        """Lease up to `limit` orders whose lease has run out and that are half done or in debt."""
        due = (
            select(Order.id)
            .where(UNFINISHED, Order.lease_until < NOW)
            .order_by(Order.lease_until)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(Order)
            .where(Order.id.in_(due))
            .values(lease_until=in_seconds(lease))
            .returning(Order.id, Order.status, Order.stock_debt)
        )
        return [Claimed(*row) for row in await self._session.execute(statement)]

    async def clear_debt(self, order_id: UUID) -> None:
        await self._session.execute(
            update(Order)
            .where(Order.id == order_id, Order.stock_debt)
            .values(stock_debt=False, lease_until=None)
        )

    async def page(
        self,
        *,
        limit: int,
        after: Place | None = None,
        status: OrderStatus | None = None,
        email: str | None = None,
    ) -> list[Order]:
        """Up to `limit` orders, newest first, from after a place on; `email` in lower case."""
        statement = _with_items(select(Order))
        if status is not None:
            statement = statement.where(Order.status == status)
        if email is not None:
            statement = statement.where(func.lower(Order.customer_email) == email)
        if after is not None:
            place = tuple_(after.created_at, after.order_id)
            statement = statement.where(tuple_(Order.created_at, Order.id) < place)
        statement = statement.order_by(Order.created_at.desc(), Order.id.desc()).limit(limit)
        return list(await self._session.scalars(statement))


def _with_items(statement: Select[Order]) -> Select[Order]:
    return statement.options(selectinload(Order.items))
