"""What happens to one message: parse, handle, try again, bury, and only then commit."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, Generic, TypeVar

from aiokafka.errors import CommitFailedError, IllegalStateError
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import ValidationError

from chassis.backoff import RetryPolicy
from chassis.failpoints import reach
from chassis.kafka.batches import Record, UndecodableBatch
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
from chassis.kafka.partition_worker import Abandoned, Lane
from chassis.kafka.retry_topics import Deferral, RetryState, RetryTopics
from chassis.observability.tracing import parent_from, start_span

log = logging.getLogger(__name__)
E = TypeVar("E", bound=Envelope)


@dataclass(frozen=True, slots=True)
class Subscription(Generic[E]):
    """A route with another wire: the topic, what its messages are read as, and who handles them."""

    topic: str
    model: type[E]
    handle: Callable[[E], Awaitable[None]]


class ConsumerMetrics:
    """What one consumer group tells of itself. Labels are topics, partitions and fixed words."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "kafka_consumer_messages",
            "Messages by outcome: processed, deferred, dead_lettered, skipped_replay, skipped_old,"
            " skipped_foreign",
            ["topic", "outcome"],
            registry=registry,
        )
        self.failures = Counter(
            "kafka_consumer_failures", "Tries that failed", ["topic"], registry=registry
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


def read(model: type[E], value: bytes | None) -> E:
    """The event in a message's value; raises Unreadable, whose text names fields but no values."""
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
    except ValueError as error:  # a validator of the model's own
        raise Unreadable(type(error).__name__) from None


class Handling:
    """The rules of one consumer group, the same for each of its partitions.

    Args:
        halt: called when too many messages in a row could not be handled: something is broken here
            rather than in the messages, and going on would drain the topics into dead letters.
        retries: where messages wait that failed. With it a failure never holds up the messages
            behind it, and `halt` is not called.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription[Any]],
        group: str,
        dead_letters: DeadLetters,
        policy: RetryPolicy,
        metrics: ConsumerMetrics,
        halt: Callable[[], None],
        retries: RetryTopics | None = None,
    ) -> None:
        self._subscriptions = {entry.topic: entry for entry in subscriptions}
        self._group = group
        self._dead_letters = dead_letters
        self._policy = policy
        self._metrics = metrics
        self._halt = halt
        self._retries = retries
        self._given_up_in_a_row = 0

    async def process(self, lane: Lane, record: Record) -> None:
        """Bring one message to its end, and commit when it is time to; or raise Abandoned."""
        if self._is_history(lane, record):
            return
        message, state = record, None
        if self._retries is not None and self._retries.waits(record):
            try:
                message, state = self._retries.read(record)
            except ValueError:
                log.error("foreign message on a retry topic skipped", extra=_place(record))
                self._metrics.messages.labels(record.topic, "skipped_foreign").inc()
                if lane.handled(record):
                    await self._settle(lane, record)
                return
            await self._wait_until_due(lane, record, state)
        parent, about = parent_from(header(message, "traceparent")), _about(message, self._group)
        name = f"process {message.topic}"
        with start_span(name, SpanKind.CONSUMER, about, parent=parent) as work:
            try:
                outcome = await self._bring_to_end(lane, message, state)
            except Abandoned:
                await self._settle(lane, record)  # what came before this one
                raise
            reach("consumer.handled")
            if lane.handled(record):
                await self._settle(lane, record)
            self._metrics.messages.labels(message.topic, outcome).inc()
            work.set_attribute("outcome", outcome)

    async def _wait_until_due(self, lane: Lane, record: Record, state: RetryState) -> None:
        seconds = state.seconds_left()
        if seconds > 0:
            await self._settle(lane, record)  # a long wait keeps nothing uncommitted
            await lane.rest(seconds)

    def _is_history(self, lane: Lane, record: Record) -> bool:
        """Older than this group wants. Counted and not committed: a crash in the midst of history
        must find no offset again, or the rest of it would be handled. The first message after it
        commits for all."""
        # Message format 0 has no timestamp; Kafka itself counts such a message as old.
        if lane.skip_before is None or (record.timestamp or 0) >= lane.skip_before:
            return False
        self._metrics.messages.labels(record.topic, "skipped_old").inc()
        return True

    async def _bring_to_end(self, lane: Lane, record: Record, state: RetryState | None) -> str:
        meant_for = header(record, REPLAY_GROUP)
        if meant_for is not None and meant_for != self._group:
            return "skipped_replay"
        subscription = self._subscriptions[record.topic]
        try:
            if isinstance(record, UndecodableBatch):
                raise Undecodable(record)
            event = read(subscription.model, record.value)
        except Unreadable as error:
            result: Deferral | Failure | None = Failure(error, 1, datetime.now(UTC))
        else:
            result = await self._handle(lane, record, state, subscription, event)
        if result is None:
            self._given_up_in_a_row = 0
            return "processed"
        if isinstance(result, Deferral):
            try:
                await self._defer(lane, record, result)
            except Unsendable as error:  # too large with one more header
                result = Failure(error, 1, result.state.since)
            else:
                return "deferred"
        await self._bury(lane, record, result)
        return "dead_lettered"

    async def _handle(
        self,
        lane: Lane,
        record: Record,
        state: RetryState | None,
        subscription: Subscription[E],
        event: E,
    ) -> Deferral | Failure | None:
        """None when it is handled. Failures are bounded; waiting for a dependency is not."""
        failed, waited = 0, 0
        since: datetime | None = None
        while True:
            try:
                await subscription.handle(event)
            except Refused as error:
                return Failure(error, failed + 1, since or datetime.now(UTC))
            except DependencyDown as error:
                waited += 1
                self._note_wait(record, error, waited)
                await self._settle(lane, record)  # who waits for long keeps nothing uncommitted
                await lane.rest(self._policy.delay(waited))
            except Exception as error:
                failed, waited, since = failed + 1, 0, since or datetime.now(UTC)
                self._note_failure(record, error, failed)
                if self._retries is not None:
                    return self._retries.after(record, state, error)
                if failed >= self._policy.attempts:
                    self._count_given_up()
                    return Failure(error, failed, since)
                await lane.rest(self._policy.delay(failed))
            else:
                return None

    async def _defer(self, lane: Lane, record: Record, deferral: Deferral) -> None:
        assert self._retries is not None  # noqa: S101 - it made the deferral
        for attempt in count(1):
            try:
                await self._retries.defer(record, deferral)
            except BrokerUnavailable as error:
                self._note_wait(record, error, attempt)
                await lane.rest(self._policy.delay(attempt))
            else:
                seconds = round(deferral.state.seconds_left(), 1)
                fields = {"retry_topic": deferral.topic, "retry_in_seconds": seconds}
                log.info("message deferred", extra=_place(record) | fields)
                return

    def _count_given_up(self) -> None:
        self._given_up_in_a_row += 1
        if self._given_up_in_a_row > self._policy.halt_after:
            self._halt()
            raise Abandoned

    async def _bury(self, lane: Lane, record: Record, failure: Failure) -> None:
        for attempt in count(1):
            try:
                await self._dead_letters.bury(record, failure)
            except BrokerUnavailable as error:
                self._note_wait(record, error, attempt)
                await lane.rest(self._policy.delay(attempt))
            else:
                log.error("dead letter written", extra=_place(record) | describe(failure.error))
                return

    async def _settle(self, lane: Lane, record: Record) -> None:
        """Commit what was handled, or end the lane: quietly where the partition went elsewhere.

        Raises:
            TimeoutError: aiokafka's commit may never return when the broker is killed under it
                (seen on a real one); the membership then begins anew.
        """
        try:
            async with asyncio.timeout(self._policy.commit_timeout):
                await lane.settle()
        except (CommitFailedError, IllegalStateError) as error:
            # The partition went to another member meanwhile, which gets this message once more.
            log.warning("offset not committed", extra=_place(record) | describe(error))
            raise Abandoned from error

    def _note_failure(self, record: Record, error: Exception, failed: int) -> None:
        self._metrics.failures.labels(record.topic).inc()
        fields = _place(record) | describe(error) | {"attempt": failed}
        if isinstance(error, RetryLater):
            fields["reason"] = str(error)[:200]
        log.warning("message not handled", extra=fields)

    def _note_wait(self, record: Record, error: Exception, waited: int) -> None:
        self._metrics.waits.labels(record.topic).inc()
        fields = {"error": type(error).__name__, "reason": str(error)[:200], "waits": waited}
        log.warning("waiting for a dependency", extra=_place(record) | fields)


def describe(error: Exception) -> dict[str, object]:
    """An error for the log: its class, and the line that raised it.

    Without its text, and so without a traceback: that may quote the personal data in a message.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    where = f"{frames.tb_frame.f_code.co_qualname}:{frames.tb_lineno}" if frames else ""
    return {"error": type(error).__name__, "where": where}


def _about(record: Record, group: str) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.consumer.group.name": group,
    }


def _place(record: Record) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
