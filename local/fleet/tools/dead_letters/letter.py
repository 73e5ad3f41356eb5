"""One dead letter as it lies on its topic, and what it becomes when it is replayed.

The names of the headers are those of ``chassis.kafka.dead_letters``, which writes them.
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
"""Names the one consumer group that a replayed message is meant for; the others skip it."""

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
    """Where a letter lies; the earlier of two is the smaller.

    With its time, because a topic that was made anew counts from 0 again.
    """

    timestamp: int
    """Milliseconds."""
    topic: str
    partition: int
    offset: int

    @property
    def place(self) -> str:
        """``partition:offset``, as people choose a letter."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True)
class Letter:
    """A dead letter with the reasons that its consumer wrote into it."""

    address: Address
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @classmethod
    def of(cls, record: Record) -> Letter:
        """Read a record of a dead-letter topic."""
        address = Address(record.timestamp, record.topic, record.partition, record.offset)
        return cls(address, record.key, record.value, tuple(record.headers))

    @property
    def when(self) -> datetime:
        """When it was buried."""
        return moment_of(self.address.timestamp)

    @property
    def topic(self) -> str:
        """Where it is replayed to: what its own topic says, which a header cannot change."""
        return self.address.topic.removesuffix(SUFFIX)

    @property
    def original(self) -> str:
        """``partition:offset`` of the message on ``topic``; empty when nobody wrote it down."""
        place = self._reason("x-original-partition"), self._reason("x-original-offset")
        return ":".join(place) if all(place) else ""

    @property
    def group(self) -> str:
        """The consumer group that gave the message up; empty when nobody wrote it down."""
        return self._reason("x-consumer-group")

    @property
    def error_class(self) -> str:
        """Why."""
        return self._reason("x-error-class")

    @property
    def error(self) -> str:
        """Why, in words; empty where they might have quoted the message."""
        return self._reason("x-error")

    @property
    def attempts(self) -> str:
        """How often it was tried."""
        return self._reason("x-attempts")

    def without_value(self) -> Letter:
        """All that a list shows."""
        return replace(self, value=None)

    def cannot_be_replayed(self, to: str) -> str:
        """Why it cannot be sent again to this group; empty when it can."""
        if self._reason(_DROPPED_BYTES):
            return "its value was not kept (the message may still be on its topic)"
        return "" if to else "it names no consumer group: say which with --to"

    def replay_headers(self, to: str) -> list[tuple[str, bytes]]:
        """The message's own headers, and the group that alone may handle it."""
        ours = (*_REASONS, REPLAY_GROUP)
        own = [(name, value or b"") for name, value in self.headers if name not in ours]
        return [*own, (REPLAY_GROUP, to.encode())]

    def _reason(self, name: str) -> str:
        return next((text_of(value) for key, value in self.headers if key == name), "")


def dead_letter_topic(name: str, known: Sequence[str]) -> str:
    """The dead-letter topic that a person means by its name or by that of its events' topic."""
    wanted = name if name.endswith(SUFFIX) else name + SUFFIX
    if wanted in known:
        return wanted
    there = ", ".join(topic for topic in known if topic.endswith(SUFFIX)) or "none"
    raise FleetError(f"There is no topic {wanted!r}. Dead-letter topics here: {there}.")


def place_of(text: str) -> tuple[int, int]:
    """``partition:offset`` as two numbers."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise FleetError(f"{text!r} is no dead letter: say partition:offset, for example 2:17.")
    return int(found[1]), int(found[2])
