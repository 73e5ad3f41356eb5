"""Database connections that break at random points while requests are served."""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from fleet.testing.cutting_proxy import CuttingProxy
from tests.conftest import SettingsFactory
from tests.integration.conftest import client_of, running
from tests.stock import Shop, assert_problem, path_of


async def test_lost_database_connection_is_answered_with_503(
    make_settings: SettingsFactory, database_url: str, shop: Shop
) -> None:
    """Reads and reductions on connections cut at random: 200 or 503, never 500."""
    product = await shop.stock(1_000_000)
    address = urlsplit(database_url)
    assert address.port is not None
    async with CuttingProxy(address.port, seed=72) as proxy:
        way = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{proxy.port}"))
        settings = make_settings(database_url=urlunsplit(way), database_pool_size=4)
        async with running(settings) as app, client_of(app) as client, asyncio.timeout(90):
            through = Shop(client, shop.pool)
            statuses = await asyncio.gather(
                *(call_until(lambda: proxy.cuts >= 40, through, product) for _ in range(6))
            )
    seen = {status for one in statuses for status in one}
    assert seen == {200, 503}


async def call_until(over: Callable[[], bool], shop: Shop, product: str) -> set[int]:
    """Read and reduce until `over`; return the statuses of the answers."""
    statuses = set()
    while not over():
        for answer in (
            await shop.client.get(path_of(product)),
            await shop.client.get("/api/inventory"),
            await shop.reduce({product: 1}),
        ):
            statuses.add(answer.status_code)
            if answer.status_code != 200:
                assert_problem(answer, 503)
                assert int(answer.headers["retry-after"]) >= 1
    return statuses
