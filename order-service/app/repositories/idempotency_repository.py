"""Idempotency keys: one row for each principal and key."""

from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import Interval, Table, Text, Uuid, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.order import IdempotencyKey, Order

_keys = cast(Table, IdempotencyKey.__table__)
_orders = cast(Table, Order.__table__)

_NOW = func.clock_timestamp()
_is_expired = _keys.c.created_at <= _NOW - bindparam("lifetime", type_=Interval)

_insert = insert(_keys).values(
    principal=bindparam("principal", type_=Text),
    key=bindparam("key", type_=Text),
    request=bindparam("request", type_=Text),
    order_id=bindparam("this_order", type_=Uuid),
)
CLAIM = _insert.on_conflict_do_update(
    index_elements=[_keys.c.principal, _keys.c.key],
    set_={
        "request": _insert.excluded.request,
        "order_id": _insert.excluded.order_id,
        "answer": None,
        "created_at": _NOW,
    },
    where=_is_expired,
).returning(_keys.c.order_id)
"""Insert the key's row, or replace an expired one. A part of OrderRepository's insert."""

_FIND = (
    select(
        _keys.c.request,
        _orders.c.status,
        _keys.c.answer,
        func.coalesce(_orders.c.lease_until - _NOW, timedelta()).label("lease_left"),
    )
    .join_from(_keys, _orders, _orders.c.id == _keys.c.order_id)
    .where(
        _keys.c.principal == bindparam("principal"),
        _keys.c.key == bindparam("key"),
        ~_is_expired,
    )
)
_RELEASE = delete(_keys).where(_keys.c.order_id == bindparam("this_order"))
_DELETE_EXPIRED = delete(_keys).where(
    _keys.c.order_id.in_(select(_keys.c.order_id).where(_is_expired).limit(bindparam("at_most")))
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A key for a new order, unless another request has held it for less than `hours`."""

    principal: str
    key: str
    request: str
    hours: float


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The row of a key. `lease_left` is for an order that is still PENDING."""

    request: str
    order_status: str
    answer: str | None
    lease_left: timedelta


class IdempotencyRepository:
    """Works on the caller's connection and never commits."""

    def __init__(self, connection: AsyncConnection, hours: float) -> None:
        self._connection = connection
        self._lifetime = timedelta(hours=hours)

    async def find(self, principal: str, key: str) -> StoredKey | None:
        """Return the key's row with its order's status; None if there is none or it expired."""
        values = {"principal": principal, "key": key, "lifetime": self._lifetime}
        row = (await self._connection.execute(_FIND, values)).one_or_none()
        return StoredKey(*row) if row else None

    async def release(self, order_id: UUID) -> None:
        """Delete the key of a cancelled order, so that a retry places a new one.

        Deletes by order id, not by key: a concurrent retry may already own the key.
        """
        await self._connection.execute(_RELEASE, {"this_order": order_id})

    async def delete_expired(self, limit: int = 1000) -> None:
        values = {"lifetime": self._lifetime, "at_most": limit}
        await self._connection.execute(_DELETE_EXPIRED, values)
