"""Connections that break under load, a killed server, and a migration under load."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select

from chassis.postgres.database import Database, DatabaseSettings
from chassis.postgres.engine import driver_url
from chassis.postgres.errors import DatabaseUnavailable
from fleet.testing.cutting_proxy import CuttingProxy

WORKERS = 8

counted = Table(
    "counted",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("number", Integer),
)
ADD = insert(counted).values(number=7)
FIND = select(counted).where(counted.c.number == 7).limit(50)
LIST = select(counted.c.number, func.repeat("x", 100)).limit(50)


@pytest.fixture
async def table(postgres_url: str) -> AsyncIterator[Any]:
    """Create the table `counted`; yield a connection."""
    connection = await asyncpg.connect(driver_url(postgres_url))
    await connection.execute("DROP TABLE IF EXISTS counted")
    await connection.execute("CREATE TABLE counted (id serial PRIMARY KEY, number integer)")
    yield connection
    await connection.close()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(database_url=url, database_pool_size=4))
    yield database
    await database.close()


async def read_and_write(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(ADD)
        await connection.execute(FIND)
    async with database.connection() as connection:
        await connection.execute(LIST)


async def work(database: Database, go_on: Callable[[], bool]) -> tuple[int, int]:
    """Read and write while `go_on`; return the numbers of successes and failures."""
    worked = failed = 0
    while go_on():
        try:
            await read_and_write(database)
        except DatabaseUnavailable:
            failed += 1
        else:
            worked += 1
    return worked, failed


async def all_workers(database: Database, go_on: Callable[[], bool]) -> tuple[int, int]:
    results = await asyncio.gather(*(work(database, go_on) for _ in range(WORKERS)))
    return sum(worked for worked, _ in results), sum(failed for _, failed in results)


@pytest.mark.usefixtures("table")
async def test_connection_cut_at_random_points_raises_only_unavailable(postgres_url: str) -> None:
    address = urlsplit(postgres_url)
    assert address.port is not None
    async with CuttingProxy(address.port, seed=72) as proxy:
        way = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{proxy.port}"))
        async with opened(urlunsplit(way)) as database, asyncio.timeout(60):
            worked, failed = await all_workers(database, lambda: proxy.cuts < 300)
            assert worked
            assert failed
            proxy.cutting = False
            await until_it_works(lambda: read_and_write(database))


async def until_it_works(call: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await call()
        except DatabaseUnavailable:
            await asyncio.sleep(0.05)


async def work_until(database: Database, end: asyncio.Event) -> None:
    await all_workers(database, lambda: not end.is_set())


@pytest.mark.usefixtures("table")
async def test_killed_server_raises_only_unavailable(
    postgres_server: Any, postgres_url: str
) -> None:
    async with opened(postgres_url) as database, asyncio.timeout(60):
        for _ in range(3):
            killed = asyncio.Event()
            workers = asyncio.create_task(work_until(database, killed))
            await asyncio.sleep(0.3)  # under load
            await asyncio.to_thread(postgres_server.kill)
            killed.set()
            await workers
            await asyncio.to_thread(postgres_server.start)
            await until_it_works(lambda: read_and_write(database))


async def test_changed_column_type_under_load_raises_only_unavailable(
    table: Any, postgres_url: str
) -> None:
    """asyncpg raises InvalidCachedStatementError in a transaction that has read the column."""
    async with opened(postgres_url) as database, asyncio.timeout(60):
        ends = time.monotonic() + 2
        workers = asyncio.create_task(all_workers(database, lambda: time.monotonic() < ends))
        for column_type in ("bigint", "integer", "bigint"):
            await asyncio.sleep(0.4)  # under load
            await table.execute(f"ALTER TABLE counted ALTER COLUMN number TYPE {column_type}")
        worked, failed = await workers
        assert worked
        assert failed, "no transaction ran during the change: the test proves nothing"
        await read_and_write(database)
