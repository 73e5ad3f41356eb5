"""The pool as its gauges show it, and the span of a transaction."""

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from chassis.database import Database, DatabaseSettings
from chassis.problems import Problem
from chassis.tracing import Kind, Span, continue_trace


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
    postgres_url: str, spans: list[Span]
) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url))
    await database.open()
    with continue_trace(None) as trace:
        async with database.transaction() as connection:
            await connection.execute("SELECT 'alice@example.com'")
    await database.close()
    only = spans[0]
    assert (only.name, only.kind) == ("transaction", Kind.CLIENT)
    assert only.context.parent_id == trace.span_id
    assert "alice" not in repr(spans)


async def test_a_refusal_rolls_back_without_failing_the_span_and_an_error_fails_it(
    postgres_url: str, spans: list[Span]
) -> None:
    database = Database(DatabaseSettings(database_url=postgres_url))
    await database.open()
    with continue_trace(None):
        with pytest.raises(TooShort):
            async with database.transaction():
                raise TooShort("Too short.")
        with pytest.raises(asyncpg.UndefinedColumnError):
            async with database.transaction() as connection:
                await connection.execute("SELECT nonsense")
    await database.close()
    assert [one.error for one in spans] == ["", "UndefinedColumnError"]
