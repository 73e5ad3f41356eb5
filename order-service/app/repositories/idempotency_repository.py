"""Idempotency keys in PostgreSQL: one row for each principal and key."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, extract, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.order import IdempotencyRecord, Order
from app.repositories.order_repository import NOW, in_seconds


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known under a key. `lease_left` is in seconds, for an order still PENDING."""

    request: str
    order_status: str
    answer: str | None
    lease_left: float


class IdempotencyRepository:
    def __init__(self, session: AsyncSession, hours: float) -> None:
        self._session = session
        self._oldest = in_seconds(-hours * 3600)

    async def find(self, principal: str, key: str) -> StoredKey | None:
        """The key's row with the state of its order; None where there is none, or it is old."""
        lease_left = func.coalesce(extract("epoch", Order.lease_until - NOW), 0.0)
        statement = (
            select(IdempotencyRecord.request, Order.status, IdempotencyRecord.answer, lease_left)
            .join(Order, Order.id == IdempotencyRecord.order_id)
            .where(
                IdempotencyRecord.principal == principal,
                IdempotencyRecord.key == key,
                IdempotencyRecord.created_at > self._oldest,
            )
        )
        row = (await self._session.execute(statement)).one_or_none()
        return StoredKey(row[0], row[1], row[2], float(row[3])) if row else None

    async def claim(self, principal: str, key: str, request: str, order_id: UUID) -> bool:
        """Take the key for an order; False if another request holds it. An old row gives way."""
        row = {"request": request, "order_id": order_id}
        statement = insert(IdempotencyRecord).values(principal=principal, key=key, **row)
        statement = statement.on_conflict_do_update(
            index_elements=["principal", "key"],
            set_={**row, "answer": None, "created_at": NOW},
            where=IdempotencyRecord.created_at <= self._oldest,
        )
        taken = await self._session.execute(statement.returning(IdempotencyRecord.order_id))
        return taken.first() is not None

    async def store_answer(self, order_id: UUID, answer: str) -> None:
        await self._session.execute(
            update(IdempotencyRecord)
            .where(IdempotencyRecord.order_id == order_id)
            .values(answer=answer)
        )

    async def release(self, order_id: UUID) -> None:
        """Let go of the key of an order that never stood, so that a retry begins anew.

        By the order's id: by the key alone it could take the row of a retry that is under way.
        """
        await self._session.execute(
            delete(IdempotencyRecord).where(IdempotencyRecord.order_id == order_id)
        )

    async def delete_expired(self, limit: int = 1000) -> None:
        expired = (
            select(IdempotencyRecord.order_id)
            .where(IdempotencyRecord.created_at <= self._oldest)
            .limit(limit)
        )
        await self._session.execute(
            delete(IdempotencyRecord).where(IdempotencyRecord.order_id.in_(expired))
        )
