"""Commit before reply: no caller receives a success for a transaction that was rolled back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest

from tests.stock import Shop, assert_problem, new_id, path_of

FAILURES = {
    "deferred constraint violated at commit": ("RAISE EXCEPTION 'refused at commit'", 500),
    "connection lost before commit": (
        "PERFORM pg_terminate_backend(pg_backend_pid())",
        503,
    ),
}
Call = Callable[[Shop, str], Awaitable[httpx2.Response]]
CALLS: dict[str, Call] = {
    "create": lambda shop, p: shop.client.post(
        "/api/inventory", json={"product_id": new_id(), "product_name": "P", "quantity": 1}
    ),
    "reduce": lambda shop, p: shop.move("reduce", p, 1),
    "reduce several": lambda shop, p: shop.reduce({p: 1}),
    "reduce with a low-stock event": lambda shop, p: shop.reduce({p: 95}),
    "restock": lambda shop, p: shop.move("restock", p, 1),
    "put": lambda shop, p: shop.put(p, quantity=1),
    "delete": lambda shop, p: shop.client.delete(path_of(p)),
}


@asynccontextmanager
async def commits_failing_by(shop: Shop, failure: str) -> AsyncIterator[None]:
    """Make each transaction that writes to the ledger fail in its COMMIT."""
    await shop.sql(
        f"""CREATE FUNCTION fail_at_commit() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN {failure}; RETURN NULL; END $$"""
    )
    await shop.sql(
        """CREATE CONSTRAINT TRIGGER fail_at_commit AFTER INSERT ON stock_movements
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_at_commit()"""
    )
    try:
        yield
    finally:
        await shop.sql("DROP TRIGGER fail_at_commit ON stock_movements")
        await shop.sql("DROP FUNCTION fail_at_commit()")


@pytest.mark.parametrize(("failure", "status"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_failed_commit_is_never_a_2xx(
    shop: Shop, call: Call, failure: str, status: int
) -> None:
    """Every statement before the COMMIT succeeded, and the response was ready."""
    product = await shop.stock(100)
    async with commits_failing_by(shop, failure):
        answer = await call(shop, product)
    assert_problem(answer, status)
    assert await shop.quantity(product) == 100
    assert await shop.low_events(product) == []
