"""The outbox and its relay on a real PostgreSQL with an in-memory broker."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry

from chassis.kafka.errors import BrokerUnavailable, Unsendable
from chassis.kafka.events import Event
from chassis.observability.tracing import start_span, trace_id
from chassis.postgres.database import Database, DatabaseSettings
from chassis.postgres.engine import driver_url
from chassis.postgres.errors import DatabaseUnavailable
from chassis.postgres.outbox import OUTBOX_DDL_V1, add_event
from chassis.postgres.relay import OutboxRelay


class Numbered(Event):
    event_type: str = "NUMBERED"
    n: int


class Broker:
    """Store records in memory. `down` refuses them, `slow` delays each record."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Any], Mapping[str, str]]] = []
        self.down = False
        self.unsendable: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def send(self, topic: str, key: str, value: bytes, headers: Mapping[str, str]) -> None:
        if self.down:
            raise BrokerUnavailable("away")
        if key in self.unsendable:
            raise Unsendable("too large")
        self.waiting += 1
        await self.gate.wait()
        self.records.append((topic, key, json.loads(value), headers))

    def numbers(self, key: str) -> list[int]:
        return [value["n"] for _, k, value, _ in self.records if k == key]


async def until(condition: Callable[[], Awaitable[bool] | bool], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(database_url=postgres_url))
    async with database.transaction() as connection:
        for statement in OUTBOX_DDL_V1:
            await connection.exec_driver_sql(statement)
    yield database
    await database.close()


@pytest.fixture
async def sql(postgres_url: str, database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(driver_url(postgres_url))
    await connection.execute("TRUNCATE outbox")
    yield connection
    await connection.close()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
async def start(postgres_url: str, sql: Any, broker: Broker) -> AsyncIterator[Any]:
    """Start a relay; all are stopped at the end."""
    relays: list[OutboxRelay] = []

    def start(poll: float = 0.2) -> tuple[OutboxRelay, CollectorRegistry]:
        registry = CollectorRegistry()
        relay = OutboxRelay(postgres_url, broker.send, registry=registry, poll=poll)
        relay.start()
        relays.append(relay)
        return relay, registry

    yield start
    await asyncio.gather(*(relay.stop() for relay in relays))


async def add(database: Database, key: str, number: int) -> None:
    async with database.transaction() as connection:
        await add_event(connection, topic="t", key=key, event=Numbered(n=number))


async def pending(sql: Any) -> int:
    count: int = await sql.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
    return count


async def drained(sql: Any) -> None:
    async def empty() -> bool:
        return await pending(sql) == 0

    await until(empty)


async def test_event_is_published_if_and_only_if_its_transaction_commits(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    start()
    with pytest.raises(RuntimeError, match="changed my mind"):
        await _add_and_fail(database)
    await add(database, "a", 1)
    await drained(sql)
    assert broker.numbers("a") == [1]


async def _add_and_fail(database: Database) -> None:
    async with database.transaction() as connection:
        await add_event(connection, topic="t", key="a", event=Numbered(n=0))
        raise RuntimeError("changed my mind")


async def test_notification_wakes_the_relay_before_its_poll(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """Promise 22: with a poll interval of ten minutes the event is still sent at once."""
    _, registry = start(poll=600.0)
    await until(lambda: registry.get_sample_value("outbox_leading") == 1)
    await add(database, "a", 1)
    await until(lambda: broker.numbers("a") == [1], seconds=1.0)


async def test_event_carries_the_trace_of_its_writer(
    database: Database, broker: Broker, start: Any
) -> None:
    start()
    with start_span("request", SpanKind.SERVER):
        written = trace_id()
        await add(database, "a", 1)
    await until(lambda: len(broker.records) == 1)
    assert written is not None
    assert written in broker.records[0][3]["traceparent"]


async def test_promise_18_late_commit_is_not_skipped(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """Promise 18: row 1 is inserted first and committed last; a cursor on the id would skip it."""
    start()
    async with database.transaction() as connection:
        await add_event(connection, topic="t", key="first", event=Numbered(n=1))
        await add(database, "second", 2)
        await until(lambda: broker.numbers("second") == [2])
        assert broker.numbers("first") == []
    await until(lambda: broker.numbers("first") == [1])


async def test_promise_19_three_relays_keep_the_order_per_aggregate(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """Promise 19: 3 relays, 20 aggregates of 30 events; the leader is disconnected repeatedly."""
    for _ in range(3):
        start()
    cutting = True

    async def cut() -> None:
        while cutting:
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'outbox-relay' AND pid IN"
                " (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)"
            )
            await asyncio.sleep(0.3)

    async def write(key: str) -> None:
        for number in range(30):
            await add(database, key, number)

    cutter = asyncio.create_task(cut())
    keys = [f"k{number}" for number in range(20)]
    await asyncio.gather(*(write(key) for key in keys))
    cutting = False
    await cutter
    await drained(sql)
    for key in keys:
        first_seen = list(dict.fromkeys(broker.numbers(key)))
        assert first_seen == list(range(30)), "duplicates are allowed, reordering is not"


async def test_only_one_of_three_relays_publishes_each_event(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """Promise 19 without faults: without the lock all three would send every event."""
    registries = [start()[1] for _ in range(3)]
    for number in range(50):
        await add(database, f"k{number % 5}", number)
    await drained(sql)
    assert sum(registry.get_sample_value("outbox_leading") or 0 for registry in registries) == 1
    assert len(broker.records) == 50


async def test_promise_17_broker_outage_only_delays_events(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """Promise 17 at the outbox: the backlog drains when the broker returns."""
    start()
    broker.down = True
    for number in range(300):
        await add(database, f"k{number % 30}", number)
    assert await pending(sql) == 300
    broker.down = False
    await drained(sql)
    assert len(broker.records) == 300


async def test_promise_20_unsendable_row_blocks_only_its_aggregate(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """Promise 20: the row is parked with its reason and counted; others are sent within 1 s."""
    broker.unsendable.add("bad")
    for number in range(3):
        await add(database, "bad", number)
        await add(database, "good", number)
    _, registry = start()
    await until(lambda: broker.numbers("good") == [0, 1, 2])
    await until(lambda: registry.get_sample_value("outbox_parked") == 1)
    await add(database, "good", 3)
    await until(lambda: broker.numbers("good") == [0, 1, 2, 3], seconds=1.0)
    assert broker.numbers("bad") == []
    parked = await sql.fetch("SELECT key, parked_reason FROM outbox WHERE parked_at IS NOT NULL")
    assert [tuple(row) for row in parked] == [("bad", "too large")]


async def test_slow_row_does_not_lose_the_lock(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """The idle timeout of the session replaces a paused relay, but not a busy one."""
    await sql.execute("SELECT 1")
    broker.gate.clear()
    start()
    await add(database, "a", 1)
    await until(lambda: broker.waiting == 1)
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    leader = await sql.fetchval("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
    ended = asyncio.get_running_loop().time() + 9.0  # more than the session's limit of 8 s

    async def nine_seconds_with_the_lock() -> bool:
        assert await sql.fetchval(held) == 1
        return asyncio.get_running_loop().time() > ended

    await until(nine_seconds_with_the_lock)
    again = await sql.fetchval("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
    assert again == leader
    broker.gate.set()
    await drained(sql)
    assert broker.numbers("a") == [1]


async def test_standby_replaces_a_killed_relay_within_ten_seconds(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    first, _ = start()
    await until(lambda: _leads(sql))
    start()
    first._task.cancel()
    await add(database, "a", 1)
    await until(lambda: broker.numbers("a") == [1], seconds=10.0)


async def test_standby_replaces_a_paused_relay(
    postgres_url: str, database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """SIGSTOP keeps the process and its connection; the server closes the idle session."""
    worker = Path(__file__).with_name("relay_worker.py")
    stopped = await asyncio.create_subprocess_exec(sys.executable, worker, postgres_url)
    try:
        # Not between the two messages of one statement: asyncpg sends the first one without a Sync,
        # so the session counts as busy until the second, and no server timeout ends it.
        await until(lambda: _leads_and_rests(sql))
        stopped.send_signal(signal.SIGSTOP)
        start()
        await add(database, "a", 1)
        await until(lambda: broker.numbers("a") == [1], seconds=20.0)
    finally:
        stopped.kill()
        await stopped.wait()


async def _leads(sql: Any) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    return bool(await sql.fetchval(query) == 1)


async def _leads_and_rests(sql: Any) -> bool:
    query = """
        SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND granted AND state = 'idle'
        AND clock_timestamp() - state_change > interval '0.1 s'
    """
    return bool(await sql.fetchval(query) == 1)


async def test_promise_22_age_of_the_oldest_event_is_a_metric(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    """Promise 22."""
    broker.down = True
    await add(database, "a", 1)
    await sql.execute("UPDATE outbox SET created_at = now() - interval '1 minute'")
    _, registry = start()
    await until(lambda: (registry.get_sample_value("outbox_oldest_seconds") or 0) >= 60)
    assert registry.get_sample_value("outbox_pending") == 1
    broker.down = False
    await until(lambda: registry.get_sample_value("outbox_pending") == 0)


async def test_stop_marks_sent_rows_and_leaves_the_others(
    database: Database, sql: Any, broker: Broker, start: Any
) -> None:
    broker.gate.clear()
    relay, _ = start()
    await add(database, "a", 1)
    await until(lambda: broker.waiting == 1)
    await relay.stop()
    assert await pending(sql) == 1
    broker.gate.set()
    start()
    await drained(sql)


async def test_unreachable_database_raises_unavailable() -> None:
    settings = DatabaseSettings(database_url="postgresql+asyncpg://x:y@127.0.0.1:1/none")
    database = Database(settings)
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    await database.close()
