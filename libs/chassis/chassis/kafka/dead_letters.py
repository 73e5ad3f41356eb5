"""Dead letters: messages that cannot be handled, stored in `<topic>.dlq` with the reason."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.kafka.batches import Record, UndecodableBatch
from chassis.kafka.errors import Refused, RetryLater, Unsendable

SUFFIX = ".dlq"
REPLAY_GROUP = "x-replay-group"
"""Header of a replayed dead letter: the only group that handles it."""

_OURS = [
    "x-original-topic",
    "x-original-partition",
    "x-original-offset",
    "x-original-last-offset",
    "x-consumer-group",
    "x-error-class",
    "x-error",
    "x-attempts",
    "x-first-failure-at",
    "x-dropped-bytes",
]
_MAX_SUMMARY = 200
_MAX_KEPT = 10_000  # bytes of key and headers kept of a message that is too large

Headers = Sequence[tuple[str, bytes]]
Publish = Callable[[str, bytes | None, bytes | None, Headers], Awaitable[None]]
"""publish(topic, key, value, headers): returns when the broker has acknowledged the record."""


class Unreadable(Exception):
    """The value is no valid event. The text names fields but no values."""


class Undecodable(Unreadable):
    """A batch of messages cannot be decoded: wrong checksum, unknown codec or damaged data."""

    def __init__(self, batch: UndecodableBatch) -> None:
        offsets = f"offsets {batch.offset} to {batch.next_offset - 1}"
        super().__init__(f"{offsets} cannot be decoded: {batch.reason}")


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a message becomes a dead letter."""

    error: Exception
    attempts: int
    since: datetime

    def summary(self) -> str:
        """Return a short text without personal data; empty if the error may quote the message."""
        if isinstance(self.error, Unreadable | Refused | RetryLater):
            return str(self.error)[:_MAX_SUMMARY]
        return ""


def header(record: Record, name: str) -> str | None:
    """Return the first header of that name, or None."""
    for key, value in record.headers:
        if key == name and value is not None:
            return str(value.decode("utf-8", "replace"))
    return None


class DeadLetters:
    """Writes the dead letters of one consumer group.

    Args:
        publish: writes a record; `EventProducer.publish`.
        group: stored in each dead letter, because all groups share the dead-letter topic.
    """

    def __init__(self, publish: Publish, group: str) -> None:
        self._publish = publish
        self._group = group

    async def write(self, record: Record, failure: Failure) -> None:
        """Return when the broker has acknowledged the dead letter.

        Raises:
            BrokerUnavailable: it was not acknowledged.
        """
        topic = record.topic + SUFFIX
        reasons = [(name, text.encode()) for name, text in self._reasons(record, failure)]
        if isinstance(record, UndecodableBatch):
            reasons.append(("x-original-last-offset", str(record.next_offset - 1).encode()))
            await self._publish_without_value(topic, None, reasons, record.size)
            return
        headers = [pair for pair in record.headers if pair[0] not in _OURS]
        value = record.value if record.key is not None else record.value or b""
        try:
            await self._publish(topic, record.key, value, [*headers, *reasons])
        except Unsendable:
            # With the additional headers the record is too large. Keep topic, partition and offset
            # of the message without its value, so that it does not block its partition.
            dropped = len(record.value or b"")
            key_and_headers = _size(record.key, headers)
            if key_and_headers <= _MAX_KEPT:
                kept = [*headers, *reasons]
                await self._publish_without_value(topic, record.key, kept, dropped)
            else:
                dropped += key_and_headers
                await self._publish_without_value(topic, None, reasons, dropped)

    async def _publish_without_value(
        self, topic: str, key: bytes | None, headers: Headers, dropped: int
    ) -> None:
        """Publish a dead letter that refers to its message by topic, partition and offset."""
        dropped_bytes = ("x-dropped-bytes", str(dropped).encode())
        await self._publish(topic, key, b"", [*headers, dropped_bytes])

    def _reasons(self, record: Record, failure: Failure) -> list[tuple[str, str]]:
        return [
            ("x-original-topic", record.topic),
            ("x-original-partition", str(record.partition)),
            ("x-original-offset", str(record.offset)),
            ("x-consumer-group", self._group),
            ("x-error-class", type(failure.error).__name__),
            ("x-error", failure.summary()),
            ("x-attempts", str(failure.attempts)),
            ("x-first-failure-at", failure.since.isoformat()),
        ]


def _size(key: bytes | None, headers: Headers) -> int:
    named = sum(len(name.encode()) + len(value or b"") for name, value in headers)
    return len(key or b"") + named
