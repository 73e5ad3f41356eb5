"""The relay: publishes outbox rows, in order for each key, one relay at a time for each database.

Why so: several relays that claim rows with SKIP LOCKED put 3 and 4 of one aggregate before 1 and 2,
and a cursor on `seq > last` loses a row whose transaction commits late. So the rows still pending
are read anew each round, by the one relay that holds an advisory lock. A relay that lost its lock
unnoticed can double an event, never reorder one: consumers dedupe by event id.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as CounterMetric

from chassis.failpoints import reach
from chassis.kafka.errors import Unsendable
from chassis.observability.tracing import use_parent
from chassis.postgres.database import DRIVER_ERRORS, driver_url
from chassis.postgres.outbox import CHANNEL

log = logging.getLogger(__name__)

Send = Callable[[str, str, bytes, Mapping[str, str]], Awaitable[None]]
"""send(topic, key, value, headers): returns when the broker has acknowledged this record."""

_LOCK = 7_246_002
_BATCH = 500
_LOCK_RETRY = 2.0  # seconds between tries for the lock; below _SESSION_LIMIT
_HEARTBEAT = 3.0  # seconds; below _SESSION_LIMIT, so that only a dead or paused relay goes silent
_SESSION_LIMIT = 8_000  # milliseconds; then the server ends the session, and the lock with it
_BACKOFF = 1.0  # seconds after a failure

_PENDING = """
    SELECT seq, topic, key, payload, traceparent FROM outbox o
    WHERE published_at IS NULL AND parked_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM outbox p WHERE p.key = o.key AND p.parked_at IS NOT NULL)
    ORDER BY seq LIMIT $1
"""
_MARK = "UPDATE outbox SET published_at = clock_timestamp() WHERE seq = ANY($1::bigint[])"
_PARK = "UPDATE outbox SET parked_at = clock_timestamp(), parked_reason = $2 WHERE seq = $1"
_BACKLOG = """
    SELECT count(*) AS pending,
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float AS age,
           (SELECT count(*) FROM outbox WHERE parked_at IS NOT NULL) AS parked
    FROM outbox WHERE published_at IS NULL AND parked_at IS NULL
"""
_CLEAN = """
    DELETE FROM outbox WHERE seq IN (
        SELECT seq FROM outbox WHERE published_at < clock_timestamp() - $1::interval LIMIT 1000)
"""


class _Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = CounterMetric(
            "outbox_published", "Events published", ["topic"], registry=registry
        )
        self.pending = Gauge("outbox_pending", "Events not yet published", registry=registry)
        self.age = Gauge(
            "outbox_oldest_seconds", "Age of the oldest unpublished event", registry=registry
        )
        self.parked = Gauge(
            "outbox_parked", "Events that cannot be sent and wait for a person", registry=registry
        )
        self.leading = Gauge("outbox_leading", "1 where this relay is active", registry=registry)


@dataclass(slots=True)
class _Round:
    """What came of one round: rows sent, rows parked with the reason, errors by class."""

    sent: list[int] = field(default_factory=list)
    parked: dict[int, str] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)


class OutboxRelay:
    """Publishes what `add_event` wrote. Start it in the lifespan; every replica runs one.

    Args:
        database_url: as the settings name it; the relay has its own connection to it,
            outside the pool and in autocommit.
        send: as `Send`; raises Unsendable for a record that is to be parked, anything else is
            tried again. It is never called concurrently for one key.
        poll: seconds; a notification wakes the relay, the poll only stands behind it.
        retention: after this long published rows are deleted.
    """

    def __init__(
        self,
        database_url: str,
        send: Send,
        *,
        registry: CollectorRegistry,
        poll: float = 1.0,
        retention: timedelta = timedelta(days=7),
    ) -> None:
        self._dsn = driver_url(database_url)
        self._send = send
        self._poll = poll
        self._retention = retention
        self._metrics = _Metrics(registry)
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._housekeeping_due = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="outbox-relay")

    async def stop(self, timeout: float = 3.0) -> None:
        """Finish and mark the round in hand, at most `timeout` seconds; then let go of the lock."""
        if self._task is None:
            return
        self._stop.set()
        self._wake.set()
        _, unfinished = await asyncio.wait({self._task}, timeout=timeout)
        if unfinished:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                await self._session()
            except DRIVER_ERRORS as error:
                log.warning("outbox relay lost its database", extra={"error": type(error).__name__})
            except Exception:
                log.exception("outbox relay failed; it begins anew")
            finally:
                self._metrics.leading.set(0)
            await _wait(self._stop, _BACKOFF)

    async def _session(self) -> None:
        connection = await asyncpg.connect(
            self._dsn,
            timeout=5,
            command_timeout=5,
            server_settings={
                "application_name": "outbox-relay",
                # From the first moment on: it may be paused right after it has got the lock.
                "idle_session_timeout": str(_SESSION_LIMIT),
            },
        )
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                if await _wait(self._stop, _LOCK_RETRY):
                    return
            await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
            self._metrics.leading.set(1)
            await self._lead(connection)
        finally:
            # Abrupt on purpose: a graceful close waits for a server that may be gone.
            connection.terminate()

    async def _lead(self, connection: Any) -> None:
        while not self._stop.is_set():
            self._wake.clear()  # before the read: what commits after it wakes us again
            rows = await connection.fetch(_PENDING, _BATCH)
            progress = await self._publish(connection, rows) if rows else True
            await self._keep_house(connection)
            if not progress:
                await _wait(self._stop, _BACKOFF)
            elif len(rows) < _BATCH:
                await _wait(self._wake, self._poll)

    async def _publish(self, connection: Any, rows: list[Any]) -> bool:
        """One round. True if anything was published or parked."""
        lanes: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            lanes[row["key"]].append(row)
        done = _Round()
        tasks = [asyncio.create_task(self._send_lane(lane, done)) for lane in lanes.values()]
        try:
            await self._await_lanes(connection, tasks)
        finally:
            for task in tasks:
                task.cancel()
        if done.sent:
            reach("relay.sent")
        await connection.execute(_MARK, done.sent)
        for seq, reason in done.parked.items():
            await connection.execute(_PARK, seq, reason)
        if done.failed:
            log.warning("events not sent yet", extra={"errors": dict(done.failed)})
        return bool(done.sent or done.parked)

    async def _await_lanes(self, connection: Any, lanes: list[asyncio.Task[None]]) -> None:
        """Until every lane has ended, or the relay is to stop: the rest is sent another time."""
        ended = asyncio.gather(*lanes, return_exceptions=True)
        stop = asyncio.create_task(self._stop.wait())
        either: set[asyncio.Future[Any]] = {ended, stop}
        try:
            while not ended.done() and not stop.done():
                await asyncio.wait(either, timeout=_HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():  # the broker is slow or away: keep the session, so the lock
                    await connection.execute("SELECT 1")
        finally:
            stop.cancel()

    async def _send_lane(self, rows: list[Any], done: _Round) -> None:
        """The rows of one key, one after the other; the first that fails ends the lane."""
        for row in rows:
            headers = {"traceparent": row["traceparent"]} if row["traceparent"] else {}
            try:
                with use_parent(row["traceparent"]):
                    await self._send(row["topic"], row["key"], row["payload"].encode(), headers)
            except Unsendable as error:
                done.parked[row["seq"]] = str(error)[:500]
                log.error("event parked", extra={"seq": row["seq"], "topic": row["topic"]})
                return
            except Exception as error:
                done.failed[type(error).__name__] += 1
                return
            done.sent.append(row["seq"])
            self._metrics.published.labels(row["topic"]).inc()

    async def _keep_house(self, connection: Any) -> None:
        """About once a second, not once a round: the figures, and a bite of the published rows."""
        if time.monotonic() < self._housekeeping_due:
            return
        self._housekeeping_due = time.monotonic() + 1.0
        backlog = await connection.fetchrow(_BACKLOG)
        self._metrics.pending.set(backlog["pending"])
        self._metrics.age.set(backlog["age"])
        self._metrics.parked.set(backlog["parked"])
        await connection.execute(_CLEAN, self._retention)


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    """Until `event` is set, at most `seconds`. True if it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    return event.is_set()
