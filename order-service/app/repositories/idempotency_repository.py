"""Idempotency keys in PostgreSQL: one row for each principal and key."""

from dataclasses import dataclass
from uuid import UUID

from chassis.postgres.database import Connection

# An expired row is replaced. Part of a larger statement with named parameters: see OrderRepository.
CLAIM = """
    INSERT INTO idempotency_keys AS held (principal, key, request, order_id)
    VALUES (:principal, :key, :request, :id)
    ON CONFLICT (principal, key) DO UPDATE
    SET request = excluded.request, order_id = excluded.order_id, answer = NULL,
        created_at = clock_timestamp()
    WHERE held.created_at <= clock_timestamp() - :hours::float8 * interval '1 hour'
    RETURNING order_id
"""
_FIND = """
    SELECT k.request, o.status, k.answer,
           coalesce(extract(epoch FROM o.lease_until - clock_timestamp()), 0)::float8
    FROM idempotency_keys k JOIN orders o ON o.id = k.order_id
    WHERE k.principal = $1 AND k.key = $2
      AND k.created_at > clock_timestamp() - $3::float8 * interval '1 hour'
"""
_RELEASE = "DELETE FROM idempotency_keys WHERE order_id = $1"
_DELETE_EXPIRED = """
    DELETE FROM idempotency_keys WHERE order_id IN (
        SELECT order_id FROM idempotency_keys
        WHERE created_at <= clock_timestamp() - $1::float8 * interval '1 hour' LIMIT $2
    )
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that is to be an order's, unless another request has held it for less than `hours`."""

    principal: str
    key: str
    request: str
    hours: float


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known under a key. `lease_left` is in seconds, for an order still PENDING."""

    request: str
    order_status: str
    answer: str | None
    lease_left: float


class IdempotencyRepository:
    def __init__(self, connection: Connection, hours: float) -> None:
        self._connection = connection
        self._hours = hours

    async def find(self, principal: str, key: str) -> StoredKey | None:
        """The key's row with the state of its order; None where there is none, or it is old."""
        row = await self._connection.fetchrow(_FIND, principal, key, self._hours)
        return StoredKey(*row) if row else None

    async def release(self, order_id: UUID) -> None:
        """Let go of the key of an order that never stood, so that a retry begins anew.

        By the order's id: by the key alone it could take the row of a retry that is under way.
        """
        await self._connection.execute(_RELEASE, order_id)

    async def delete_expired(self, limit: int = 1000) -> None:
        await self._connection.execute(_DELETE_EXPIRED, self._hours, limit)
