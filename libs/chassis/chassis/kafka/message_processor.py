"""Process the messages of a partition: decode, handle with retries or dead letter, commit.

A `PartitionWorker` processes the messages of one assigned partition strictly in order, concurrently
with the workers of other partitions. Delivery is at least once: an offset is committed only after
its message was handled or its dead letter was acknowledged.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar

from aiokafka.errors import CommitFailedError, IllegalStateError
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import ValidationError

from chassis.backoff import RetryPolicy
from chassis.failpoints import reach
from chassis.kafka.batches import Record, UndecodableBatch, next_offset
from chassis.kafka.dead_letters import (
    REPLAY_GROUP,
    DeadLetters,
    Failure,
    Undecodable,
    Unreadable,
    header,
)
from chassis.kafka.errors import BrokerUnavailable, DependencyDown, Refused, RetryLater, Unsendable
from chassis.kafka.events import Envelope
from chassis.kafka.retry_topics import Deferral, RetryState, RetryTopics
from chassis.observability.tracing import parent_from, start_span

log = logging.getLogger(__name__)
E = TypeVar("E", bound=Envelope)

_COMMIT_AFTER_MESSAGES = 20
_COMMIT_AFTER_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Subscription(Generic[E]):
    """A topic, the model of its events, and their handler."""

    topic: str
    model: type[E]
    handle: Callable[[E], Awaitable[None]]


class ConsumerMetrics:
    """The metrics of one consumer group. Labels are topics, partitions and fixed words."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "kafka_consumer_messages",
            "Messages by outcome: processed, deferred, dead_lettered, skipped_replay, skipped_old,"
            " skipped_foreign",
            ["topic", "outcome"],
            registry=registry,
        )
        self.failures = Counter(
            "kafka_consumer_failures", "Failed attempts", ["topic"], registry=registry
        )
        self.waits = Counter(
            "kafka_consumer_waits", "Waits for a dependency", ["topic"], registry=registry
        )
        self.lag = Gauge(
            "kafka_consumer_lag",
            "Messages in the topic that are not handled yet",
            ["topic", "partition"],
            registry=registry,
        )
        self.last_poll = Gauge(
            "kafka_consumer_last_poll_timestamp_seconds", "Time of the last poll", registry=registry
        )
        self.halted = Gauge(
            "kafka_consumer_halted", "1 after too many failures in a row", registry=registry
        )


@dataclass(frozen=True, slots=True)
class ConsumerPolicy(RetryPolicy):
    """How often a message is handled again, and when the consumer gives up."""

    commit_timeout: float = 30.0  # seconds; after this the consumer leaves its group and rejoins
    halt_after: int = 20  # consecutive dead letters after which the consumer stops


@dataclass(slots=True)
class ConsumerGroup:
    """The rules of one consumer group, shared by the workers of its partitions.

    Attributes:
        name: the group's name.
        subscriptions: by topic.
        halt: called after too many consecutive failures. They indicate a fault of this service, and
            going on would move the whole topic to the dead letters.
        retries: the topics where failed messages wait. With them a failure never delays the
            messages after it, and `halt` is not called.
        failures_in_a_row: dead letters of failed messages since the last success.
    """

    name: str
    subscriptions: Mapping[str, Subscription[Any]]
    dead_letters: DeadLetters
    policy: ConsumerPolicy
    metrics: ConsumerMetrics
    halt: Callable[[], None]
    retries: RetryTopics | None = None
    failures_in_a_row: int = 0


class _Stopped(Exception):
    """The worker stops before its message is finished: not committed, so delivered again."""


class _PartitionLost(Exception):
    """The partition belongs to another member, which receives the uncommitted messages again."""


class PartitionWorker:
    """Processes the messages of one assigned partition in a task of its own.

    Args:
        commit: commits the given offset.
        skip_before: milliseconds since 1970; older messages are skipped. None skips none.
    """

    def __init__(
        self,
        group: ConsumerGroup,
        commit: Callable[[int], Awaitable[None]],
        skip_before: int | None = None,
    ) -> None:
        self._group = group
        self._commit = commit
        self._skip_before = skip_before
        self._queue: asyncio.Queue[Record | None] = asyncio.Queue()
        self._in_progress = 0
        self._uncommitted = 0  # finished messages
        self._uncommitted_since = 0.0
        self._last_finished: Record = None
        self._closing = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name="kafka-partition-worker")

    # -- used by the consumer

    @property
    def unfinished(self) -> int:
        """The number of messages that were added and are not finished."""
        return self._queue.qsize() + self._in_progress

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            self._queue.put_nowait(record)

    def check(self) -> None:
        """Raise the error that ended the worker: no partition may stop unnoticed."""
        if self.task.done() and self.task.cancelled():
            raise RuntimeError("a handler cancelled its own task")
        if self.task.done():
            self.task.result()

    def close(self) -> None:
        """Let the worker finish its current message, drop the others, and end `task`."""
        self._closing.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    # -- the main path

    async def _run(self) -> None:
        with suppress(_PartitionLost):
            while (record := await self._queue.get()) is not None:
                self._in_progress = 1
                try:
                    await self._process(record)
                except _Stopped:
                    await self._commit_finished()  # the messages before this one
                    return
                finally:
                    self._in_progress = 0

    async def _process(self, record: Record) -> None:
        """Process one message to its end, and commit when a commit is due."""
        metrics, retries = self._group.metrics, self._group.retries
        if self._is_too_old(record):
            # Not committed: a crash here must find no offset, or the rest would count as new.
            metrics.messages.labels(record.topic, "skipped_old").inc()
            return
        message, state = record, None
        if retries is not None and retries.waits(record):
            try:
                message, state = retries.read(record)
            except ValueError:
                log.error("foreign message on a retry topic skipped", extra=_place(record))
                metrics.messages.labels(record.topic, "skipped_foreign").inc()
                await self.finish(record)
                return
            await self._wait_until_due(state)
        parent = parent_from(header(message, "traceparent"))
        attributes = _span_attributes(message, self._group.name)
        name = f"process {message.topic}"
        with start_span(name, SpanKind.CONSUMER, attributes, parent=parent) as span:
            outcome = await self._handle(message, state)
            reach("consumer.handled")
            await self.finish(record)
            metrics.messages.labels(message.topic, outcome).inc()
            span.set_attribute("outcome", outcome)

    async def _handle(self, message: Record, state: RetryState | None) -> str:
        """Decode one message and handle it, defer it or write its dead letter.

        Returns:
            The outcome, for the metric.
        """
        replayed_for = header(message, REPLAY_GROUP)
        if replayed_for is not None and replayed_for != self._group.name:
            return "skipped_replay"
        subscription = self._group.subscriptions[message.topic]
        try:
            event = decode(subscription.model, message)
        except Unreadable as error:
            failure: Deferral | Failure | None = Failure(error, 1, datetime.now(UTC))
        else:
            failure = await self._call_handler(subscription, event, message, state)
        if isinstance(failure, Deferral):
            try:
                await self._defer(message, failure)
            except Unsendable as error:  # too large with one more header
                failure = Failure(error, 1, failure.state.since)
            else:
                return "deferred"
        if failure is not None:
            await self._write_dead_letter(message, failure)
            return "dead_lettered"
        self._group.failures_in_a_row = 0
        return "processed"

    async def _call_handler(
        self, subscription: Subscription[E], event: E, message: Record, state: RetryState | None
    ) -> Deferral | Failure | None:
        """Call the handler until it succeeds or no attempt is left.

        The number of failures is limited; waiting for a dependency is not.

        Returns:
            None after a success.
        """
        policy, retries = self._group.policy, self._group.retries
        failed, waited = 0, 0
        since: datetime | None = None
        while True:
            try:
                await subscription.handle(event)
            except Refused as error:
                return Failure(error, failed + 1, since or datetime.now(UTC))
            except DependencyDown as error:
                waited += 1
                self._note_wait(message, error, waited)
                await self._commit_finished()
                await self._sleep(policy.delay(waited))
            except Exception as error:
                failed, waited, since = failed + 1, 0, since or datetime.now(UTC)
                self._note_failure(message, error, failed)
                if retries is not None:
                    return retries.after(message, state, error)
                if failed >= policy.attempts:
                    self._count_exhausted()
                    return Failure(error, failed, since)
                await self._sleep(policy.delay(failed))
            else:
                return None

    async def _defer(self, message: Record, deferral: Deferral) -> None:
        """Write the message to a retry topic."""
        assert self._group.retries is not None  # noqa: S101 - it made the deferral
        await self._write(message, partial(self._group.retries.defer, message, deferral))
        seconds = round(deferral.state.seconds_left(), 1)
        fields = {"retry_topic": deferral.topic, "retry_in_seconds": seconds}
        log.info("message deferred", extra=_place(message) | fields)

    async def _write_dead_letter(self, message: Record, failure: Failure) -> None:
        await self._write(message, partial(self._group.dead_letters.write, message, failure))
        log.error("dead letter written", extra=_place(message) | describe(failure.error))

    async def _write(self, message: Record, write: Callable[[], Awaitable[None]]) -> None:
        """Call `write` until it succeeds, however long the broker is unavailable."""
        for attempt in count(1):
            try:
                await write()
            except BrokerUnavailable as error:
                self._note_wait(message, error, attempt)
                await self._sleep(self._group.policy.delay(attempt))
            else:
                return

    async def finish(self, record: Record) -> None:
        """Mark a message as finished, and commit if a commit is due (ADR 8).

        A commit costs as much as handling a small message. So one commit covers several messages
        while more are waiting. A crash then redelivers all of them.
        """
        if not self._uncommitted:
            self._uncommitted_since = time.monotonic()
        self._uncommitted += 1
        self._last_finished = record
        seconds = time.monotonic() - self._uncommitted_since
        if (
            self._queue.empty()
            or self._closing.is_set()
            or self._uncommitted >= _COMMIT_AFTER_MESSAGES
            or seconds >= _COMMIT_AFTER_SECONDS
        ):
            await self._commit_finished()

    async def _commit_finished(self) -> None:
        """Commit the messages that are finished.

        Raises:
            TimeoutError: aiokafka's commit may never return when the broker is killed during it.
                The consumer then rejoins its group.
        """
        if not self._uncommitted:
            return
        record = self._last_finished
        try:
            async with asyncio.timeout(self._group.policy.commit_timeout):
                await self._commit(next_offset(record))
        except (CommitFailedError, IllegalStateError) as error:
            log.warning("offset not committed", extra=_place(record) | describe(error))
            raise _PartitionLost from error
        self._uncommitted = 0

    # -- parts of the main path

    def _is_too_old(self, record: Record) -> bool:
        # Message format 0 has no timestamp; Kafka itself counts such a message as old.
        return self._skip_before is not None and (record.timestamp or 0) < self._skip_before

    async def _wait_until_due(self, state: RetryState) -> None:
        seconds = state.seconds_left()
        if seconds > 0:
            await self._commit_finished()
            await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        """Wait; raise _Stopped as soon as the worker closes."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return
        raise _Stopped

    def _count_exhausted(self) -> None:
        self._group.failures_in_a_row += 1
        if self._group.failures_in_a_row > self._group.policy.halt_after:
            self._group.halt()
            raise _Stopped

    def _note_failure(self, message: Record, error: Exception, failed: int) -> None:
        self._group.metrics.failures.labels(message.topic).inc()
        fields = _place(message) | describe(error) | {"attempt": failed}
        if isinstance(error, RetryLater):
            fields["reason"] = str(error)[:200]
        log.warning("message not handled", extra=fields)

    def _note_wait(self, message: Record, error: Exception, waited: int) -> None:
        self._group.metrics.waits.labels(message.topic).inc()
        fields = {"error": type(error).__name__, "reason": str(error)[:200], "waits": waited}
        log.warning("waiting for a dependency", extra=_place(message) | fields)


def decode(model: type[E], message: Record) -> E:
    """Return the event of a message.

    Raises:
        Unreadable: the batch or the value cannot be decoded.
    """
    if isinstance(message, UndecodableBatch):
        raise Undecodable(message)
    return read(model, message.value)


def read(model: type[E], value: bytes | None) -> E:
    """Return the event in a message's value.

    Raises:
        Unreadable: the value is no valid event. The error's text names fields but no values.
    """
    if value is None:
        raise Unreadable("no value")
    try:
        return model.model_validate_json(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        parts = (
            f"{'.'.join(map(str, item['loc'])) or 'value'}: {item['type']}" for item in details
        )
        raise Unreadable("; ".join(parts)) from None
    except ValueError as error:  # a validator of the model
        raise Unreadable(type(error).__name__) from None


def describe(error: Exception) -> dict[str, object]:
    """Return log fields for an error: its class, and the line that raised it.

    The error's text and traceback are left out, because they may quote personal data.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    where = f"{frames.tb_frame.f_code.co_qualname}:{frames.tb_lineno}" if frames else ""
    return {"error": type(error).__name__, "where": where}


def _span_attributes(record: Record, group: str) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.consumer.group.name": group,
    }


def _place(record: Record) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
