"""Dead letters: a message that cannot be handled, kept whole in `<topic>.dlq` with the reason."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.kafka.batches import Record, UndecodableBatch
from chassis.kafka.errors import Refused, RetryLater, Unsendable

SUFFIX = ".dlq"
REPLAY_GROUP = "x-replay-group"
"""A message that was replayed from a dead letter names the one group that it is meant for."""

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
_MAX_KEPT = 10_000  # bytes of key and headers that are kept of a message that is too large

Headers = Sequence[tuple[str, bytes]]
Publish = Callable[[str, bytes | None, bytes | None, Headers], Awaitable[None]]
"""publish(topic, key, value, headers): returns when the broker has acknowledged the record."""


class Unreadable(Exception):
    """The value is not JSON or not what the consumer requires. Its text names fields, no values."""


class Undecodable(Unreadable):
    """A batch of messages cannot be decoded: a wrong checksum, an unknown codec, damaged data."""

    def __init__(self, batch: UndecodableBatch) -> None:
        offsets = f"offsets {batch.offset} to {batch.next_offset - 1}"
        super().__init__(f"{offsets} cannot be decoded: {batch.reason}")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was given up."""

    error: Exception
    attempts: int
    since: datetime

    def summary(self) -> str:
        """A short text without personal data.

        Only our own errors promise that: any other may quote the message that it choked on.
        """
        if isinstance(self.error, Unreadable | Refused | RetryLater):
            return str(self.error)[:_MAX_SUMMARY]
        return ""


def header(record: Record, name: str) -> str | None:
    """The first header of that name, or None."""
    for key, value in record.headers:
        if key == name and value is not None:
            return str(value.decode("utf-8", "replace"))
    return None


class DeadLetters:
    """Writes the dead letters of one consumer group.

    Args:
        publish: how a record reaches the broker.
        group: named in each, because every group has dead letters of its own in the same topic.
    """

    def __init__(self, publish: Publish, group: str) -> None:
        self._publish = publish
        self._group = group

    async def bury(self, record: Record, failure: Failure) -> None:
        """Return when the broker has the dead letter; only then may the offset be committed.

        Raises:
            BrokerUnavailable: it has no dead letter yet, as far as is known.
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
            # With our headers it is larger than the broker takes. The place where the whole message
            # lies is kept, else this one message would block its partition for ever.
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
        """Publish a dead letter that says where its message lies."""
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
