"""MongoDB connections that break at random points while requests are served."""

import asyncio
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import httpx2

from app.config import Settings
from app.main import create_app
from fleet.testing.cutting_proxy import CuttingProxy
from tests.conftest import NewBody
from tests.support import assert_problem, running


async def test_lost_database_connection_is_answered_with_503(
    settings: Settings, body: NewBody
) -> None:
    """Reads and writes with cut connections return success or 503, never 500."""
    address = urlsplit(settings.mongodb_url)
    assert address.port is not None
    async with CuttingProxy(address.port, seed=72, longest=5_000) as proxy:
        way = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{proxy.port}"))
        cut = settings.model_copy(
            update={
                "mongodb_url": urlunsplit(way),
                "mongodb_database": f"product_test_{secrets.token_hex(6)}",
                "mongodb_timeout_ms": 1_000,
            }
        )
        async with running(create_app(cut)) as client, asyncio.timeout(90):
            statuses = await asyncio.gather(
                *(call_until(lambda: proxy.cuts >= 40, client, body) for _ in range(6))
            )
    seen = {status for one in statuses for status in one}
    assert 503 in seen
    assert seen <= {200, 201, 503}


async def call_until(
    over: Callable[[], bool], client: httpx2.AsyncClient, body: NewBody
) -> set[int]:
    """List, search and create until `over` is set. Return the status codes."""
    statuses = set()
    while not over():
        for answer in (
            await client.get("/api/products"),
            await client.get("/api/products/search?q=lamp"),
            await client.post("/api/products", json=body()),
        ):
            statuses.add(answer.status_code)
            if answer.status_code >= 500:
                assert_problem(answer, 503)
                assert int(answer.headers["retry-after"]) >= 1
    return statuses
