"""Calls of the service's API, and queries of its tables."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx2

_SUMS = """
    SELECT i.product_id, i.quantity, i.reserved_qty, coalesce(sum(m.delta), 0)::bigint AS ledger
    FROM inventory i LEFT JOIN stock_movements m USING (product_id)
    WHERE i.product_id = ANY($1::text[]) GROUP BY i.id
"""


def new_id(name: str = "p") -> str:
    return f"{name}-{uuid4().hex[:12]}"


def path_of(product_id: str, *more: str) -> str:
    return "/".join(("/api/inventory", quote(product_id, safe=""), *more))


def assert_problem(answer: httpx2.Response, status: int, begins: str = "") -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert str(body["detail"]).startswith(begins), body["detail"]
    return body


class Shop:
    """A client of a running service, with connections to its database."""

    def __init__(self, client: httpx2.AsyncClient, pool: "asyncpg.Pool") -> None:
        self.client = client
        self.pool = pool

    async def stock(self, quantity: int, product_id: str | None = None) -> str:
        """Create a product with this quantity; return its id."""
        body = {"product_id": product_id or new_id(), "product_name": "P", "quantity": quantity}
        answer = await self.client.post("/api/inventory", json=body)
        assert answer.status_code == 201, answer.text
        return body["product_id"]  # type: ignore[return-value]

    async def reduce(self, pieces: Mapping[str, int], key: str | None = None) -> httpx2.Response:
        items = [{"product_id": product, "quantity": n} for product, n in pieces.items()]
        return await self.client.patch(
            "/api/inventory/reduce",
            json={"items": items},
            headers={"Idempotency-Key": key or str(uuid4())},
        )

    async def move(
        self, what: str, product_id: str, quantity: int, key: str | None = None
    ) -> httpx2.Response:
        """Call reduce or restock (`what`) of one product."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self.client.patch(
            path_of(product_id, what), json={"quantity": quantity}, headers=headers
        )

    async def reverse(self, key: str) -> httpx2.Response:
        return await self.client.post(f"/api/inventory/movements/{quote(key, safe='')}/reverse")

    async def put(self, product_id: str, **changes: Any) -> httpx2.Response:
        return await self.client.put(path_of(product_id), json=changes)

    async def quantity(self, product_id: str) -> int:
        answer = await self.client.get(path_of(product_id))
        assert answer.status_code == 200, answer.text
        return int(answer.json()["quantity"])

    async def sql(self, statement: str, *parameters: Any) -> list[Any]:
        return list(await self.pool.fetch(statement, *parameters))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Open a transaction on a separate asyncpg connection."""
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection

    async def assert_ledger_is_right(self, *products: str) -> None:
        """Assert in one statement, thus one snapshot, that each quantity equals the sum of its
        movements and is at least the reserved quantity."""
        for row in await self.sql(_SUMS, products):
            assert row["ledger"] == row["quantity"], row
            assert 0 <= row["reserved_qty"] <= row["quantity"], row

    async def low_events(self, product_id: str) -> list[str]:
        rows = await self.sql(
            "SELECT payload FROM outbox WHERE topic = 'inventory-low' AND key = $1 ORDER BY seq",
            product_id,
        )
        return [row["payload"] for row in rows]
