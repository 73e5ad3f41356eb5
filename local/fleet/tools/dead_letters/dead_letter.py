"""A dead letter, and the message that its replay sends.

``chassis.kafka.dead_letters`` writes the headers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fleet.clients.printable import moment_of, text_of
from fleet.clients.topic_reader import Record
from fleet.errors import FleetError

SUFFIX = ".dlq"
REPLAY_GROUP = "x-replay-group"
"""Header with the consumer group of a replay. All other groups skip the message."""

_DROPPED_BYTES = "x-dropped-bytes"
_REASONS = (
    "x-original-topic",
    "x-original-partition",
    "x-original-offset",
    "x-original-last-offset",
    "x-consumer-group",
    "x-error-class",
    "x-error",
    "x-attempts",
    "x-first-failure-at",
    _DROPPED_BYTES,
)
_PLACE = re.compile(r"(\d{1,9}):(\d{1,18})")


@dataclass(frozen=True, order=True)
class Address:
    """Position of a dead letter, ordered by time.

    Includes the timestamp, because a recreated topic starts again at offset 0.
    """

    timestamp: int
    """Milliseconds."""
    topic: str
    partition: int
    offset: int

    @property
    def place(self) -> str:
        """``partition:offset``, which selects a dead letter on the command line."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter with the failure details in its headers."""

    address: Address
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @classmethod
    def from_record(cls, record: Record) -> DeadLetter:
        """Read a record of a dead-letter topic."""
        address = Address(record.timestamp, record.topic, record.partition, record.offset)
        return cls(address, record.key, record.value, tuple(record.headers))

    @property
    def when(self) -> datetime:
        """Time at which the consumer gave up."""
        return moment_of(self.address.timestamp)

    @property
    def topic(self) -> str:
        """The topic of the replay. Derived from the dead-letter topic, not from a header."""
        return self.address.topic.removesuffix(SUFFIX)

    @property
    def original(self) -> str:
        """``partition:offset`` of the original message; empty if unknown."""
        place = self._reason("x-original-partition"), self._reason("x-original-offset")
        return ":".join(place) if all(place) else ""

    @property
    def group(self) -> str:
        """The consumer group that gave up; empty if unknown."""
        return self._reason("x-consumer-group")

    @property
    def error_class(self) -> str:
        """Class name of the error."""
        return self._reason("x-error-class")

    @property
    def error(self) -> str:
        """Text of the error; empty if it might quote the message."""
        return self._reason("x-error")

    @property
    def attempts(self) -> str:
        """Number of attempts."""
        return self._reason("x-attempts")

    def without_value(self) -> DeadLetter:
        """Return a copy without the value, for lists."""
        return replace(self, value=None)

    def cannot_be_replayed(self, to: str) -> str:
        """Return why a replay to this group is impossible, or an empty text."""
        if self._reason(_DROPPED_BYTES):
            return "its value was not stored (the message may still be on its topic)"
        return "" if to else "its consumer group is unknown: set --to"

    def replay_headers(self, to: str) -> list[tuple[str, bytes]]:
        """Return the original headers and the header that selects the consumer group."""
        ours = (*_REASONS, REPLAY_GROUP)
        own = [(name, value or b"") for name, value in self.headers if name not in ours]
        return [*own, (REPLAY_GROUP, to.encode())]

    def _reason(self, name: str) -> str:
        return next((text_of(value) for key, value in self.headers if key == name), "")


def dead_letter_topic(name: str, known: Sequence[str]) -> str:
    """Return the dead-letter topic for its own name or for the name of its event topic."""
    wanted = name if name.endswith(SUFFIX) else name + SUFFIX
    if wanted in known:
        return wanted
    there = ", ".join(topic for topic in known if topic.endswith(SUFFIX)) or "none"
    raise FleetError(f"There is no topic {wanted!r}. Dead-letter topics: {there}.")


def place_of(text: str) -> tuple[int, int]:
    """Parse ``partition:offset``."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise FleetError(f"{text!r} is not a position: use partition:offset, for example 2:17.")
    return int(found[1]), int(found[2])
