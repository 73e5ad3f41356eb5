"""The ledger: the keys of movements and the movements themselves."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from app.models.inventory import MovementKey
from chassis.postgres.database import Connection

_CLAIM = """
    INSERT INTO movement_keys (key, state, request, answer) VALUES ($1, $2, $3, $4)
    ON CONFLICT (key) DO NOTHING
    RETURNING key
"""
_KEY_LOCKED = "SELECT request, state, answer FROM movement_keys WHERE key = $1 FOR UPDATE"
_SETTLE = "UPDATE movement_keys SET state = $2, answer = $3 WHERE key = $1"
_RECORD = """
    INSERT INTO stock_movements (key, kind, product_id, delta)
    SELECT $1, $2, product_id, delta
    FROM unnest($3::text[], $4::bigint[]) AS w (product_id, delta) WHERE delta <> 0
"""
_TAKEN_BY = """
    SELECT product_id, -delta FROM stock_movements WHERE key = $1 AND kind = 'reduce'
    ORDER BY product_id
"""


def new_key(kind: str) -> str:
    """The key of a movement whose caller gave none: `<kind> <uuid4>`.

    The space is what sets it apart: an Idempotency-Key has none, so no caller can ever name it.
    """
    return f"{kind} {uuid4()}"


class LedgerRepository:
    """Works on the caller's connection; nothing here commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(
        self, key: str, *, state: str, request: Mapping[str, Any] | None, answer: str | None = None
    ) -> MovementKey | None:
        """Make the key's row, or return the one that it has, locked.

        Whoever calls this first holds the key until the transaction ends, and everybody else with
        the same key waits here: in the INSERT for a row that is not committed yet, in the SELECT
        for one that is. So a late reduce and its reversal can never pass each other.

        Returns:
            None where the row is new, and this caller's to act on.
        """
        asked = None if request is None else json.dumps(request)
        if await self._connection.fetchval(_CLAIM, key, state, asked, answer) is not None:
            return None
        row = await self._connection.fetchrow(_KEY_LOCKED, key)
        stands_for = None if row["request"] is None else json.loads(row["request"])
        return MovementKey(request=stands_for, state=row["state"], answer=row["answer"])

    async def settle(self, key: str, *, state: str, answer: str) -> None:
        """Store what the key was told, for whoever asks again."""
        await self._connection.execute(_SETTLE, key, state, answer)

    async def record(self, key: str, kind: str, deltas: Mapping[str, int]) -> None:
        """Write a line for each product; a movement of nothing leaves none."""
        await self._connection.execute(_RECORD, key, kind, list(deltas), list(deltas.values()))

    async def taken_by(self, key: str) -> dict[str, int]:
        """How many pieces of what product a key's reduction took."""
        return dict(await self._connection.fetch(_TAKEN_BY, key))
