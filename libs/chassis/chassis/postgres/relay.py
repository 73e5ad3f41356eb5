"""Publish outbox rows in order for each key, with one active relay for each database.

Several relays that claim rows with SKIP LOCKED would send events 3 and 4 of an aggregate before 1
and 2, and a cursor on `seq > last` would skip a row whose transaction commits late. Each round
therefore reads the pending rows again, in the one relay that holds an advisory lock. A relay that
has lost its lock unnoticed can duplicate an event but not reorder one; consumers deduplicate by
event id.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as CounterMetric
from sqlalchemy import (
    BigInteger,
    Double,
    Interval,
    Row,
    Select,
    any_,
    bindparam,
    cast,
    delete,
    exists,
    extract,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import NullPool

from chassis.failpoints import reach
from chassis.kafka.errors import Unsendable
from chassis.observability.tracing import use_parent
from chassis.postgres.engine import DATABASE_ERRORS, create_engine, driver_error
from chassis.postgres.outbox import CHANNEL, outbox

logger = logging.getLogger(__name__)

Send = Callable[[str, str, bytes, Mapping[str, str]], Awaitable[None]]
"""send(topic, key, value, headers): returns when the broker has acknowledged the record."""

_LOCK = 7_246_002
_BATCH = 500
_LOCK_RETRY = 2.0  # seconds between tries for the lock; below _SESSION_LIMIT
_HEARTBEAT = 3.0  # seconds; below _SESSION_LIMIT, so that only a dead or paused relay goes silent
_SESSION_LIMIT = 8_000  # milliseconds; then the server ends the session and releases the lock
_BACKOFF = 1.0  # seconds after a failure
_CLEAN_BATCH = 1_000

_NOW = func.clock_timestamp()
_IS_PENDING = outbox.c.published_at.is_(None) & outbox.c.parked_at.is_(None)
_parked = outbox.alias("parked")

_TRY_LOCK = select(func.pg_try_advisory_lock(_LOCK))
_HEARTBEAT_QUERY = select(literal(1))
_PENDING: Select[Any] = (
    select(outbox.c.seq, outbox.c.topic, outbox.c.key, outbox.c.payload, outbox.c.traceparent)
    .where(
        _IS_PENDING,
        ~exists().where(_parked.c.key == outbox.c.key, _parked.c.parked_at.is_not(None)),
    )
    .order_by(outbox.c.seq)
    .limit(_BATCH)
)
_MARK = (
    update(outbox)
    .where(outbox.c.seq == any_(bindparam("sent", type_=ARRAY(BigInteger))))
    .values(published_at=_NOW)
)
_PARK = (
    update(outbox)
    .where(outbox.c.seq == bindparam("parked_seq"))
    .values(parked_at=_NOW, parked_reason=bindparam("reason"))
)
_BACKLOG = select(
    func.count().label("pending"),
    func.coalesce(cast(extract("epoch", _NOW - func.min(outbox.c.created_at)), Double), 0.0).label(
        "age"
    ),
    select(func.count()).where(_parked.c.parked_at.is_not(None)).scalar_subquery().label("parked"),
).where(_IS_PENDING)
_CLEAN = delete(outbox).where(
    outbox.c.seq.in_(
        select(outbox.c.seq)
        .where(outbox.c.published_at < _NOW - bindparam("retention", type_=Interval))
        .limit(_CLEAN_BATCH)
    )
)


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
            "outbox_parked", "Events that cannot be sent and need an operator", registry=registry
        )
        self.leading = Gauge("outbox_leading", "1 where this relay is active", registry=registry)


@dataclass(slots=True)
class _Round:
    """Outcome of one round: rows sent, rows parked with the reason, errors by class."""

    sent: list[int] = field(default_factory=list)
    parked: dict[int, str] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)


class OutboxRelay:
    """Publish the events of `add_event`. The lifespan of each replica starts one.

    Args:
        database_url: the database. The relay has a connection of its own, outside the pool and in
            autocommit.
        send: as `Send`. Raises Unsendable for a record that must be parked; any other error is
            retried. It is never called concurrently for one key.
        poll: seconds. A notification wakes the relay; the poll covers a lost notification.
        retention: published rows are deleted after this time.
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
        self._engine: AsyncEngine = create_engine(
            database_url,
            connect_timeout=5,
            statement_timeout=5,
            server_settings={
                "application_name": "outbox-relay",
                # Set at connect: the process may be paused right after it has acquired the lock.
                "idle_session_timeout": str(_SESSION_LIMIT),
            },
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
        )
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
        """Finish and mark the current round in at most `timeout` seconds; then release the lock."""
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
            except DATABASE_ERRORS as error:
                logger.warning(
                    "outbox relay lost its database connection",
                    extra={
                        "error": type(driver_error(error)).__name__,
                        "retry_in_seconds": _BACKOFF,
                    },
                )
            except Exception:
                logger.exception("outbox relay failed", extra={"retry_in_seconds": _BACKOFF})
            finally:
                self._metrics.leading.set(0)
            await _wait(self._stop, _BACKOFF)

    async def _session(self) -> None:
        async with self._engine.connect() as connection:
            # LISTEN needs asyncpg's own connection.
            driver: Any = (await connection.get_raw_connection()).driver_connection
            try:
                while not await connection.scalar(_TRY_LOCK):
                    if await _wait(self._stop, _LOCK_RETRY):
                        return
                await driver.add_listener(CHANNEL, lambda *_: self._wake.set())
                self._metrics.leading.set(1)
                await self._lead(connection)
            finally:
                # Abrupt on purpose: a graceful close waits for a server that may be gone.
                driver.terminate()

    async def _lead(self, connection: AsyncConnection) -> None:
        while not self._stop.is_set():
            self._wake.clear()  # before the read: what commits after it wakes us again
            rows = (await connection.execute(_PENDING)).all()
            progress = await self._publish(connection, rows) if rows else True
            await self._keep_house(connection)
            if not progress:
                await _wait(self._stop, _BACKOFF)
            elif len(rows) < _BATCH:
                await _wait(self._wake, self._poll)

    async def _publish(self, connection: AsyncConnection, rows: Sequence[Row[Any]]) -> bool:
        """Run one round. Return True if a row was published or parked."""
        lanes: dict[str, list[Row[Any]]] = defaultdict(list)
        for row in rows:
            lanes[row.key].append(row)
        done = _Round()
        tasks = [asyncio.create_task(self._send_lane(lane, done)) for lane in lanes.values()]
        try:
            await self._await_lanes(connection, tasks)
        finally:
            for task in tasks:
                task.cancel()
        if done.sent:
            reach("relay.sent")
            await connection.execute(_MARK, {"sent": done.sent})
        for seq, reason in done.parked.items():
            await connection.execute(_PARK, {"parked_seq": seq, "reason": reason})
        if done.failed:
            logger.warning("events not sent yet", extra={"errors": dict(done.failed)})
        return bool(done.sent or done.parked)

    async def _await_lanes(
        self, connection: AsyncConnection, lanes: list[asyncio.Task[None]]
    ) -> None:
        """Wait until every lane has ended or the relay is stopped; the rest is sent later."""
        ended = asyncio.gather(*lanes, return_exceptions=True)
        stop = asyncio.create_task(self._stop.wait())
        either: set[asyncio.Future[Any]] = {ended, stop}
        try:
            while not ended.done() and not stop.done():
                await asyncio.wait(either, timeout=_HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():  # the broker is slow: keep the session, and with it the lock
                    await connection.execute(_HEARTBEAT_QUERY)
        finally:
            stop.cancel()

    async def _send_lane(self, rows: list[Row[Any]], done: _Round) -> None:
        """Send the rows of one key in sequence; stop at the first failure."""
        for row in rows:
            headers = {"traceparent": row.traceparent} if row.traceparent else {}
            try:
                with use_parent(row.traceparent):
                    await self._send(row.topic, row.key, row.payload.encode(), headers)
            except Unsendable as error:
                done.parked[row.seq] = str(error)[:500]
                logger.error("event parked", extra={"seq": row.seq, "topic": row.topic})
                return
            except Exception as error:
                done.failed[type(error).__name__] += 1
                return
            done.sent.append(row.seq)
            self._metrics.published.labels(row.topic).inc()

    async def _keep_house(self, connection: AsyncConnection) -> None:
        """About once a second, update the gauges and delete some of the old published rows."""
        if time.monotonic() < self._housekeeping_due:
            return
        self._housekeeping_due = time.monotonic() + 1.0
        backlog = (await connection.execute(_BACKLOG)).one()
        self._metrics.pending.set(backlog.pending)
        self._metrics.age.set(backlog.age)
        self._metrics.parked.set(backlog.parked)
        await connection.execute(_CLEAN, {"retention": self._retention})


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set, at most `seconds`. Return True if it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    return event.is_set()
