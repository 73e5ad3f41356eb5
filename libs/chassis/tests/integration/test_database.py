"""The connection pool: gauges, spans of transactions, broken connections."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from sqlalchemy import column, exc, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.observability.tracing import start_span
from chassis.postgres.database import Database, DatabaseSettings
from chassis.postgres.errors import DatabaseUnavailable
from chassis.problems import Problem

ONE = select(literal(1))
PID = select(func.pg_backend_pid())


def sleep_for(seconds: float) -> Any:
    return select(func.pg_sleep(seconds))


class TooShort(Problem):
    status = 400
    type = "/problems/too-short"
    title = "Too short"


async def test_pool_usage_is_a_metric(postgres_url: str) -> None:
    registry = CollectorRegistry()
    settings = DatabaseSettings(database_url=postgres_url, database_pool_size=3)
    database = Database(settings, registry)

    def in_use() -> float | None:
        return registry.get_sample_value("database_connections_in_use")

    assert in_use() == 0
    async with database.transaction() as first, database.transaction() as second:
        for connection in (first, second):
            await connection.execute(ONE)
        assert in_use() == 2
    assert in_use() == 0
    assert registry.get_sample_value("database_connections_limit") == 3
    await database.close()


async def test_transaction_is_one_span_without_its_statements(
    postgres_url: str, spans: InMemorySpanExporter
) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url))
    with start_span("request", SpanKind.SERVER):
        async with database.transaction() as connection:
            await connection.execute(select(literal("alice@example.com")))
    await database.close()
    transaction, request = spans.get_finished_spans()
    assert (transaction.name, transaction.kind) == ("transaction", SpanKind.CLIENT)
    assert transaction.parent == request.context
    assert "alice" not in transaction.to_json()


async def test_only_database_errors_fail_the_span(
    postgres_url: str, spans: InMemorySpanExporter
) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url))
    with start_span("request", SpanKind.SERVER):
        with pytest.raises(TooShort):
            async with database.transaction():
                raise TooShort("Too short.")
        with pytest.raises(exc.ProgrammingError):
            async with database.transaction() as connection:
                await connection.execute(select(column("nonsense")))
    await database.close()
    refused, failed, _ = spans.get_finished_spans()
    assert refused.attributes is not None
    assert "error.type" not in refused.attributes
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "UndefinedColumnError"


async def is_closed(connection: AsyncConnection) -> bool:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    return bool(driver.is_closed())


async def break_in_a_pause(database: Database) -> None:
    async with database.transaction() as connection, database.connection() as other:
        pid = await connection.scalar(PID)
        await other.execute(select(func.pg_terminate_backend(pid, 5000)))
        while not await is_closed(connection):
            await asyncio.sleep(0.01)
        await connection.execute(ONE)


async def break_in_a_statement(database: Database) -> None:
    async with database.transaction() as connection, database.connection() as other:
        pid = await connection.scalar(PID)
        later = select(func.pg_sleep(0.2), func.pg_terminate_backend(pid))
        ending = asyncio.create_task(other.execute(later))
        try:
            await connection.execute(sleep_for(5))
        finally:
            await ending


@pytest.mark.parametrize("breaking", [break_in_a_pause, break_in_a_statement])
async def test_broken_connection_raises_unavailable_and_the_next_one_works(
    postgres_url: str, breaking: Callable[[Database], Awaitable[None]]
) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url, database_pool_size=2))
    with pytest.raises(DatabaseUnavailable):
        await breaking(database)
    await database.ping()
    await database.close()


async def test_cancelled_statement_closes_its_connection(postgres_url: str) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url, database_pool_size=1))

    async def sleep() -> None:
        async with asyncio.timeout(0.05), database.transaction() as connection:
            await connection.execute(sleep_for(5))

    for _ in range(5):
        with pytest.raises(TimeoutError):
            await sleep()
        async with asyncio.timeout(2):
            await database.ping()
    await database.close()


async def test_cancelled_connection_attempt_leaves_no_unretrieved_exception(
    postgres_url: str,
) -> None:
    loop = asyncio.get_running_loop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    try:
        for steps in range(40):
            database = Database(DatabaseSettings(database_url=postgres_url))
            attempt = asyncio.create_task(database.ping())
            for _ in range(steps):
                await asyncio.sleep(0)  # one iteration of the event loop
            attempt.cancel()
            await asyncio.wait({attempt})
            await database.close()
        await all_attempts_over()
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    assert reports == []


async def all_attempts_over() -> None:
    attempts = {task for task in asyncio.all_tasks() if task.get_name() == "database-connect"}
    if attempts:
        await asyncio.wait(attempts, timeout=10)


async def test_connection_closed_while_idle_is_replaced(postgres_url: str) -> None:
    """The server may close idle sessions, for example at a restart. No request fails."""
    settings = DatabaseSettings(database_url=postgres_url, database_pool_size=2)
    database, other = Database(settings), Database(settings)
    async with database.connection() as first, database.connection() as second:
        pids = [await connection.scalar(PID) for connection in (first, second)]
        drivers = [
            (await connection.get_raw_connection()).driver_connection
            for connection in (first, second)
        ]
    async with other.connection() as connection:
        for pid in pids:
            await connection.execute(select(func.pg_terminate_backend(pid, 5000)))
    async with asyncio.timeout(10):
        while not all(driver.is_closed() for driver in drivers):  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
    for _ in range(3):
        await database.ping()
    await database.close()
    await other.close()


async def test_silent_server_raises_unavailable_within_the_statement_timeout(
    postgres_server: Any, postgres_url: str
) -> None:
    """Neither ROLLBACK nor closing the connection waits for the server."""
    settings = DatabaseSettings(database_url=postgres_url, database_statement_timeout=0.5)
    database = Database(settings)
    async with database.transaction() as connection:
        await connection.execute(ONE)
    postgres_server.pause()
    try:
        async with asyncio.timeout(1.5):
            with pytest.raises(DatabaseUnavailable):
                await use(database)
    finally:
        postgres_server.resume()
    await database.ping()
    await database.close()


async def use(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(ONE)


async def test_full_pool_raises_unavailable_after_the_pool_timeout(postgres_url: str) -> None:
    settings = DatabaseSettings(
        database_url=postgres_url, database_pool_size=1, database_pool_timeout=0.2
    )
    database = Database(settings)
    async with asyncio.timeout(5), database.connection():
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
    await database.ping()
    await database.close()
