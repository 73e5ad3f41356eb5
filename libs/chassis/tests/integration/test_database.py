"""The pool as its gauges show it, and the span of a transaction."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry

from chassis.observability.tracing import start_span
from chassis.postgres.database import Database, DatabaseSettings, DatabaseUnavailable
from chassis.problems import Problem


class TooShort(Problem):
    status = 400
    type = "/problems/too-short"
    title = "Too short"


async def test_the_pools_use_is_shown(postgres_url: str) -> None:
    registry = CollectorRegistry()
    settings = DatabaseSettings(database_url=postgres_url, database_pool_size=3)
    database = Database(settings, registry)
    await database.open()

    def in_use() -> float | None:
        return registry.get_sample_value("database_connections_in_use")

    assert in_use() == 0
    async with database.transaction() as first, database.transaction() as second:
        for connection in (first, second):
            await connection.execute("SELECT 1")
        assert in_use() == 2
    assert in_use() == 0
    assert registry.get_sample_value("database_connections_limit") == 3
    await database.close()


async def test_a_transaction_is_one_span_and_its_statements_are_not_told(
    postgres_url: str, spans: InMemorySpanExporter
) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url))
    await database.open()
    with start_span("request", SpanKind.SERVER):
        async with database.transaction() as connection:
            await connection.execute("SELECT 'alice@example.com'")
    await database.close()
    transaction, request = spans.get_finished_spans()
    assert (transaction.name, transaction.kind) == ("transaction", SpanKind.CLIENT)
    assert transaction.parent == request.context
    assert "alice" not in transaction.to_json()


async def test_a_refusal_rolls_back_without_failing_the_span_and_an_error_fails_it(
    postgres_url: str, spans: InMemorySpanExporter
) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url))
    await database.open()
    with start_span("request", SpanKind.SERVER):
        with pytest.raises(TooShort):
            async with database.transaction():
                raise TooShort("Too short.")
        with pytest.raises(asyncpg.UndefinedColumnError):
            async with database.transaction() as connection:
                await connection.execute("SELECT nonsense")
    await database.close()
    refused, failed, _ = spans.get_finished_spans()
    assert refused.attributes is not None
    assert "error.type" not in refused.attributes
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "UndefinedColumnError"


async def break_in_a_pause(database: Database) -> None:
    async with database.transaction() as connection, database.connection() as other:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        while not connection.is_closed():
            await asyncio.sleep(0.01)
        await connection.execute("SELECT 1")


async def break_in_a_statement(database: Database) -> None:
    async with database.transaction() as connection, database.connection() as other:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        later = "SELECT pg_sleep(0.2), pg_terminate_backend($1)"
        ending = asyncio.create_task(other.execute(later, pid))
        try:
            await connection.execute("SELECT pg_sleep(5)")
        finally:
            await ending


@pytest.mark.parametrize("breaking", [break_in_a_pause, break_in_a_statement])
async def test_a_connection_that_breaks_is_the_databases_failure_and_the_next_one_works(
    postgres_url: str, breaking: Callable[[Database], Awaitable[None]]
) -> None:
    """asyncpg gives a broken connection back to its pool by itself, under whoever has it."""
    database = Database(DatabaseSettings(database_url=postgres_url, database_pool_size=2))
    await database.open()
    with pytest.raises(DatabaseUnavailable):
        await breaking(database)
    await database.ping()
    await database.close()


async def test_a_statement_that_is_cancelled_takes_its_connection_along(postgres_url: str) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url, database_pool_size=1))
    await database.open()

    async def sleep() -> None:
        async with asyncio.timeout(0.05), database.transaction() as connection:
            await connection.execute("SELECT pg_sleep(5)")

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
            await database.open()
            attempt = asyncio.create_task(database.ping())
            for _ in range(steps):
                await asyncio.sleep(0)  # one turn of the loop
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
