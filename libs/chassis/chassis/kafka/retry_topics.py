"""Retry topics: a message that has to wait moves to another topic, and its partition goes on.

Each retry topic has one delay, so its messages become due in the sequence of their offsets.
The delays grow by a constant factor from one topic to the next; the last one repeats. A message
keeps its key. Retry topics have as many partitions as the topics that they serve, and the group
uses the range assignor, so one member owns the same partition number of all of them: two members
never handle the same event at the same time.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from chassis.kafka.dead_letters import Failure, Publish, header
from chassis.kafka.errors import RetryLater

HEADER = "x-retry"
"""Holds the RetryState of a message on a retry topic, as JSON."""

_JITTER = 0.2  # each delay varies by this share


class RetryState(BaseModel):
    """The history of a message that is tried again.

    Attributes:
        topic, partition, offset: where the message was published first.
        attempts: failures that lengthened the delay.
        repeats: failures whose effect is unknown: the effect may have happened.
        since: time of the first failure.
        not_before: when the message is due.
    """

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    offset: int
    attempts: int = 0
    repeats: int = 0
    since: AwareDatetime
    not_before: AwareDatetime

    def seconds_left(self) -> float:
        """Seconds until the message is due."""
        return (self.not_before - datetime.now(UTC)).total_seconds()


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a retry topic as it was on its first topic."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Deferral:
    """The next attempt: the retry topic to wait on, and the state to write there."""

    topic: str
    state: RetryState


@dataclass(frozen=True)
class RetryTopics:
    """The retry schedule of one consumer group.

    Attributes:
        topics: from the shortest delay to the longest.
        publish: writes a record; `EventProducer.publish`.
        first_delay: seconds of the first topic; each further topic waits `factor` times as long.
        max_age: a message that still fails this long after its first failure is a dead letter.
        max_repeats: so many failures with an unknown effect make a message a dead letter.
    """

    topics: Sequence[str]
    publish: Publish
    first_delay: float
    max_age: timedelta
    factor: float = 5.0
    max_repeats: int = 5

    def waits(self, record: Any) -> bool:
        """True if the record is on a retry topic."""
        return record.topic in self.topics

    @staticmethod
    def read(record: Any) -> tuple[Message, RetryState]:
        """Return the message of a record on a retry topic, and its state.

        Raises:
            ValueError: the record has no valid state, so `defer` did not write it.
        """
        state = RetryState.model_validate_json(header(record, HEADER) or "")
        message = Message(
            topic=state.topic,
            partition=state.partition,
            offset=state.offset,
            timestamp=record.timestamp,
            key=record.key,
            value=record.value,
            headers=[pair for pair in record.headers if pair[0] != HEADER],
        )
        return message, state

    def after(self, message: Any, state: RetryState | None, error: Exception) -> Deferral | Failure:
        """Schedule the next attempt after a failure, or end the attempts.

        Args:
            state: None for a message that comes from its first topic.
        """
        kind = error if isinstance(error, RetryLater) else RetryLater("", bounded=True)
        now = datetime.now(UTC)
        state = state or RetryState(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            since=now,
            not_before=now,
        )
        first = not (state.attempts or state.repeats)
        since = now if first else state.since
        attempts = state.attempts + int(kind.climb)
        repeats = state.repeats + int(kind.bounded)
        if repeats >= self.max_repeats or (kind.expires and now - since > self.max_age):
            return Failure(error, attempts, since)
        index = min(attempts, len(self.topics)) - 1 if kind.climb else 0
        delay = self.first_delay * self.factor**index
        delay *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  spreads load
        update = {
            "attempts": attempts,
            "repeats": repeats,
            "since": since,
            "not_before": now + timedelta(seconds=delay),
        }
        return Deferral(self.topics[index], state.model_copy(update=update))

    async def defer(self, message: Any, deferral: Deferral) -> None:
        """Return when the broker has the message on its retry topic.

        Raises:
            BrokerUnavailable, Unsendable.
        """
        state = deferral.state.model_dump_json().encode()
        headers = [*message.headers, (HEADER, state)]
        await self.publish(deferral.topic, message.key, message.value, headers)
