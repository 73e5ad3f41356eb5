"""The ledger: movement keys and stock movements."""

from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import BigInteger, Table, Text, bindparam, func, insert, select, update
from sqlalchemy import column as sql_column
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.inventory import MovementKey, StockMovement

_keys = cast(Table, MovementKey.__table__)
_movements = cast(Table, StockMovement.__table__)

# No parameter has the name of a column of an updated table: SQLAlchemy would add it to SET.
CLAIM = (
    postgresql.insert(_keys)
    .values(
        key=bindparam("movement_key", type_=Text),
        state=bindparam("new_state", type_=Text),
        request=bindparam("asked", type_=JSONB(none_as_null=True)),
        answer=bindparam("told", type_=Text),
    )
    .on_conflict_do_nothing(index_elements=[_keys.c.key])
    .returning(_keys.c.key)
)
"""Insert the row of a new key; no row if it exists. Waits for a transaction that has the key."""

deltas = (
    func.unnest(
        bindparam("products", type_=ARRAY(Text)), bindparam("deltas", type_=ARRAY(BigInteger))
    )
    .table_valued(sql_column("product_id", Text), sql_column("delta", BigInteger))
    .render_derived(name="wanted")
)
"""The parameters `products` and `deltas` as rows."""

_is_key = _keys.c.key == bindparam("movement_key", type_=Text)
_FIND_LOCKED = (
    select(_keys.c.request, _keys.c.state, _keys.c.answer).where(_is_key).with_for_update()
)
_SETTLE = (
    update(_keys)
    .where(_is_key)
    .values(state=bindparam("new_state", type_=Text), answer=bindparam("told", type_=Text))
)
_LINE = ["key", "kind", "product_id", "delta"]
_RECORD = insert(_movements).from_select(
    _LINE,
    select(
        bindparam("movement_key", type_=Text),
        bindparam("movement_kind", type_=Text),
        deltas.c.product_id,
        deltas.c.delta,
    ).where(deltas.c.delta != 0),
)
_TAKEN_BY = (
    select(_movements.c.product_id, (-_movements.c.delta).label("taken"))
    .where(_movements.c.key == bindparam("movement_key", type_=Text), _movements.c.kind == "reduce")
    .order_by(_movements.c.product_id)
)


def new_key(kind: str) -> str:
    """Return a key for a movement whose caller sent none: `<kind> <uuid4>`.

    An Idempotency-Key has no space, so no caller can send such a key.
    """
    return f"{kind} {uuid4()}"


class LedgerRepository:
    """Works on the caller's connection and never commits."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(
        self,
        key: str,
        *,
        state: str,
        request: Mapping[str, Any] | None = None,
        answer: str | None = None,
    ) -> bool:
        """Insert the row of a key. Return False if the key exists.

        The first caller holds the key until its transaction ends; another caller of the same key
        waits here. A late reduction and its reversal can therefore not overtake each other.
        """
        values = {"movement_key": key, "new_state": state, "asked": request, "told": answer}
        return await self._connection.scalar(CLAIM, values) is not None

    async def find_locked(self, key: str) -> MovementKey:
        """Return the row of a key that exists, locked until the transaction ends."""
        row = (await self._connection.execute(_FIND_LOCKED, {"movement_key": key})).one()
        return MovementKey(**row._mapping)

    async def settle(self, key: str, *, state: str, answer: str) -> None:
        """Store the response of a key, so that a retry with this key can replay it."""
        values = {"movement_key": key, "new_state": state, "told": answer}
        await self._connection.execute(_SETTLE, values)

    async def record(self, key: str, kind: str, deltas: Mapping[str, int]) -> None:
        """Insert one line for each product, except for a delta of zero."""
        values = {
            "movement_key": key,
            "movement_kind": kind,
            "products": list(deltas),
            "deltas": list(deltas.values()),
        }
        await self._connection.execute(_RECORD, values)

    async def taken_by(self, key: str) -> dict[str, int]:
        """Return the quantity that the reduction of a key took of each product."""
        rows = await self._connection.execute(_TAKEN_BY, {"movement_key": key})
        return {row.product_id: row.taken for row in rows}
