"""Start, stop and kill of the service, and unavailable servers."""

import asyncio
import sys
from uuid import uuid4

import httpx2
import pytest

from fleet.processes.runner import Runner
from fleet.servers.kafka import KafkaServer
from fleet.servers.postgres import PostgresServer
from tests.conftest import NOWHERE
from tests.integration.serving import SERVICE, serving
from tests.stock import Shop, assert_problem, path_of


async def test_service_does_not_import_the_migration_tool() -> None:
    """Only the migration process needs Alembic and its memory."""
    code = "import sys, app.main; print({'alembic'} & sys.modules.keys())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), cwd=SERVICE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert said.decode().strip() == "set()"


async def test_service_starts_and_serves_without_kafka(database_url: str) -> None:
    async with serving(DATABASE_URL=database_url, KAFKA_BOOTSTRAP_SERVERS=NOWHERE) as (_, client):
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "DEGRADED")
        assert ready.json()["dependencies"]["kafka"]["status"] == "DEGRADED"
        assert (await client.get("/api/inventory")).status_code == 200


async def test_service_starts_without_postgresql_and_is_not_ready() -> None:
    url = f"postgresql+asyncpg://u:p@{NOWHERE}/none"
    async with serving(DATABASE_URL=url, KAFKA_BOOTSTRAP_SERVERS=NOWHERE) as (_, client):
        assert (await client.get("/health")).json() == {
            "status": "UP",
            "service": "inventory-service",
        }
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "DOWN")
        for call in (
            client.get("/api/inventory/p"),
            client.get("/api/inventory/p/check", params={"quantity": 1}),
            client.patch("/api/inventory/p/reduce", json={"quantity": 1}),
        ):
            answer = await call
            assert_problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0


async def test_promise_5_every_key_has_one_effect_although_the_service_is_killed(
    shop: Shop, database_url: str
) -> None:
    """Promise 5: SIGKILL during keyed reductions; after repeats each key has one effect."""
    product = await shop.stock(1_000)
    keys = [str(uuid4()) for _ in range(120)]
    environment = {"DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": NOWHERE}
    async with serving(**environment) as (process, client):
        first = Shop(client, shop.pool)
        calls = [asyncio.ensure_future(first.reduce({product: 1}, key)) for key in keys]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        process.kill()
        answers = await asyncio.gather(*calls, return_exceptions=True)
    told = {k: a for k, a in zip(keys, answers, strict=True) if isinstance(a, httpx2.Response)}
    async with serving(**environment) as (_, client):
        again = Shop(client, shop.pool)
        repeats = await asyncio.gather(*(again.reduce({product: 1}, key) for key in keys))
    assert {answer.status_code for answer in repeats} == {200}
    for key, repeat in zip(keys, repeats, strict=True):
        assert key not in told or told[key].content == repeat.content
    assert len(told) < len(keys), "it was killed too late to show anything"
    assert await shop.quantity(product) == 1_000 - len(keys)
    await shop.assert_ledger_is_right(product)


async def test_hanging_database_is_503_until_it_recovers(
    shop: Shop, postgres_server: Runner[PostgresServer], database_url: str
) -> None:
    product = await shop.stock(10)
    environment = {
        "DATABASE_URL": database_url,
        "DATABASE_STATEMENT_TIMEOUT": "0.5",
        "DATABASE_CONNECT_TIMEOUT": "0.5",
        "KAFKA_BOOTSTRAP_SERVERS": NOWHERE,
    }
    async with serving(**environment) as (_, client):
        path = path_of(product)
        assert (await client.get(path)).status_code == 200
        postgres_server.pause()
        try:
            assert_problem(await client.get(path), 503)
            assert_problem(await client.patch(f"{path}/reduce", json={"quantity": 1}), 503)
            assert (await client.get("/health/ready")).status_code == 503
            assert (await client.get("/health")).status_code == 200
        finally:
            postgres_server.resume()
        async with asyncio.timeout(10):
            while (await client.get(path)).status_code != 200:
                await asyncio.sleep(0.05)
        assert (await client.get(path)).json()["quantity"] == 10


@pytest.mark.parametrize("paused", [False, True])
async def test_service_stops_in_time_even_while_the_broker_is_paused(
    database_url: str, kafka_server: Runner[KafkaServer], paused: bool
) -> None:
    broker = kafka_server.program.bootstrap
    async with serving(DATABASE_URL=database_url, KAFKA_BOOTSTRAP_SERVERS=broker) as served:
        process, client = served
        async with asyncio.timeout(15):
            while (await client.get("/health/ready")).json()["status"] != "UP":
                await asyncio.sleep(0.05)
        if paused:
            kafka_server.pause()
        try:
            process.terminate()
            await asyncio.wait_for(process.wait(), timeout=12)
        finally:
            if paused:
                kafka_server.resume()
    assert process.returncode in (0, -15)
