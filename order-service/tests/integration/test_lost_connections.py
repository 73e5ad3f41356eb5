"""Database connections that break at random points while orders are placed and read."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from fleet.testing.cutting_proxy import CuttingProxy
from tests.conftest import order_of, running

_UNKNOWN = "/problems/outcome-unknown"


@pytest.mark.usefixtures("sql")
async def test_lost_database_connection_is_answered_with_503(settings: Settings) -> None:
    """Except for `outcome-unknown` (promise 6), a cut connection never causes a 500."""
    address = urlsplit(settings.database_url)
    assert address.port is not None
    async with CuttingProxy(address.port, seed=72) as proxy:
        way = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{proxy.port}"))
        cut = settings.model_copy(update={"database_url": urlunsplit(way)})
        async with running(create_app(cut)) as client, asyncio.timeout(90):
            answers = await asyncio.gather(
                *(call_until(lambda: proxy.cuts >= 40, client) for _ in range(6))
            )
    seen = {seen for one in answers for seen in one}
    assert (201, "") in seen
    assert {status for status, _ in seen} >= {200, 201, 503}
    assert {type_ for status, type_ in seen if status not in (200, 201, 503)} <= {_UNKNOWN}


async def call_until(over: Callable[[], bool], client: httpx2.AsyncClient) -> set[tuple[int, str]]:
    """Place and list until `over`; return status and problem type of the answers."""
    seen = set()
    while not over():
        for answer in (
            await client.post("/api/orders", json=order_of(("p", 1))),
            await client.get("/api/orders"),
        ):
            problem: dict[str, Any] = answer.json() if answer.status_code >= 400 else {}
            seen.add((answer.status_code, problem.get("type", "")))
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) >= 1
    return seen
