"""The ledger: the keys of movements and the movements themselves."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.inventory import MovementKey, StockMovement


def new_key(kind: str) -> str:
    """The key of a movement whose caller gave none: `<kind> <uuid4>`.

    The space is what sets it apart: an Idempotency-Key has none, so no caller can ever name it.
    """
    return f"{kind} {uuid4()}"


class LedgerRepository:
    """Works in the caller's session; nothing here commits."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

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
        values = {"key": key, "state": state, "request": request, "answer": answer}
        insertion = (
            upsert(MovementKey)
            .values(**values)
            .on_conflict_do_nothing(index_elements=["key"])
            .returning(MovementKey.key)
        )
        if (await self._session.execute(insertion)).one_or_none() is not None:
            return None
        existing = select(MovementKey).where(MovementKey.key == key).with_for_update()
        return (await self._session.scalars(existing)).one()

    async def settle(self, key: str, *, state: str, answer: str) -> None:
        """Store what the key was told, for whoever asks again."""
        statement = (
            update(MovementKey).where(MovementKey.key == key).values(state=state, answer=answer)
        )
        await self._session.execute(statement, execution_options={"synchronize_session": False})

    async def record(self, key: str, kind: str, deltas: Mapping[str, int]) -> None:
        """Write a line for each product; a movement of nothing leaves none."""
        rows = [
            {"key": key, "kind": kind, "product_id": product, "delta": delta}
            for product, delta in deltas.items()
            if delta
        ]
        if rows:
            await self._session.execute(insert(StockMovement).values(rows))

    async def taken_by(self, key: str) -> dict[str, int]:
        """How many pieces of what product a key's reduction took."""
        statement = (
            select(StockMovement.product_id, StockMovement.delta)
            .where(StockMovement.key == key, StockMovement.kind == "reduce")
            .order_by(StockMovement.product_id)
        )
        rows = await self._session.execute(statement)
        return {product: -delta for product, delta in rows}
