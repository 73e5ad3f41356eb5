"""Read topics, consumer groups and latest messages from the broker."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiokafka import TopicPartition

from fleet.clients.printable import moment_of, parsed, text_of
from fleet.clients.topic_reader import Record, Span, TopicReader, topic_reader
from fleet.tools.dead_letters.dead_letter import SUFFIX, DeadLetter
from fleet.tools.dead_letters.outcomes import Outcome, open_count, read_outcomes

_LARGEST = 16_384
_ALL_TOGETHER = 8_000_000
"""Bytes shown of one value and of all values; the search reads complete values."""

_CLOSED = 20_000  # latest outcomes of dead letters that are read


@dataclass(frozen=True)
class Topic:
    """One topic."""

    name: str
    partitions: list[Span]
    open_letters: int | None = None
    """Number of open dead letters; None for other topics."""

    @property
    def messages(self) -> int:
        """Number of offsets; a compacted topic has gaps."""
        return sum(map(len, self.partitions))


@dataclass(frozen=True)
class Progress:
    """Progress of a consumer group in one topic."""

    group: str
    topic: str
    done: int
    """Messages before the committed offsets."""
    lag: int
    """Messages after the committed offsets."""


@dataclass(frozen=True)
class Overview:
    """All topics and groups."""

    topics: list[Topic]
    groups: list[Progress]


@dataclass(frozen=True)
class Message:
    """One displayed message."""

    partition: int
    offset: int
    when: datetime
    key: str | None
    headers: list[tuple[str, str]]
    value: str | None
    size: int
    """Size of the value in bytes."""
    cut: bool
    """Whether the value is truncated."""
    letter: DeadLetter | None = None
    """Failure details, on a dead-letter topic."""
    done: Outcome | None = None
    """Outcome of the dead letter."""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form; ``value`` is parsed JSON or text."""
        value: Any = self.value
        with contextlib.suppress(ValueError):
            value = parsed(self.value or "")
        shown = {
            "partition": self.partition,
            "offset": self.offset,
            "timestamp": self.when.isoformat(),
            "key": self.key,
            "headers": [{"name": name, "value": text} for name, text in self.headers],
            "value": value,
            "bytes": self.size,
        }
        if self.letter is not None:
            shown["state"] = self.done.state if self.done else "open"
        return shown


@dataclass(frozen=True)
class Messages:
    """The latest messages of one topic, newest first."""

    topic: str
    total: int
    searched: int
    found: list[Message] = field(default_factory=list)


async def overview(bootstrap: str) -> Overview:
    """Read topics and consumer groups."""
    async with topic_reader(bootstrap) as reader:
        names = await reader.topics()
        spans = await reader.spans(names)
        closed = await read_outcomes(reader, names, _CLOSED)
        waiting = open_count(spans, closed, [name for name in names if name.endswith(SUFFIX)])
        topics = [
            Topic(
                name,
                [spans[TopicPartition(name, i)] for i in range(count)],
                waiting.get(name),
            )
            for name, count in names.items()
        ]
        return Overview(topics, await _groups(reader, spans))


async def messages(bootstrap: str, topic: str, last: int, query: str) -> Messages | None:
    """Read at most ``last`` messages of each partition; return None for an unknown topic.

    Args:
        query: selects messages whose key, headers or value contain it, ignoring case.
    """
    async with topic_reader(bootstrap) as reader:
        names = await reader.topics()
        if topic not in names:  # a request by name might create the topic
            return None
        spans = await reader.spans({topic: names[topic]})
        is_dead = topic.endswith(SUFFIX)
        closed = await read_outcomes(reader, names, _CLOSED) if is_dead else {}
        wanted = {tp: span.last(last) for tp, span in spans.items()}
        shown = Messages(topic, sum(map(len, spans.values())), sum(map(len, wanted.values())))
        kept = min(_LARGEST, _ALL_TOGETHER // max(1, shown.searched))
        async for record in reader.records(wanted):
            if _matches(record, query.lower()):
                letter = DeadLetter.from_record(record).without_value() if is_dead else None
                done = closed.get(letter.address) if letter else None
                shown.found.append(_message(record, kept, letter, done))
    shown.found.sort(key=lambda found: (found.when, found.partition, found.offset), reverse=True)
    return shown


async def _groups(reader: TopicReader, spans: dict[TopicPartition, Span]) -> list[Progress]:
    found: list[Progress] = []
    for group in await reader.groups():
        committed = await reader.committed(group, list(spans))
        for topic in sorted({tp.topic for tp in committed}):
            parts = {tp: span for tp, span in spans.items() if tp.topic == topic}
            # Without a committed offset, all messages are unread.
            at = {tp: committed.get(tp, span.first) for tp, span in parts.items()}
            lag = sum(max(0, span.end - at[tp]) for tp, span in parts.items())
            found.append(Progress(group, topic, sum(map(len, parts.values())) - lag, lag))
    return found


def _matches(record: Record, query: str) -> bool:
    if not query:
        return True
    texts = [record.key, record.value, *(value for _, value in record.headers)]
    names = [name for name, _ in record.headers]
    return any(query in text.lower() for text in [*map(text_of, texts), *names])


def _message(record: Record, kept: int, letter: DeadLetter | None, done: Outcome | None) -> Message:
    value = record.value
    return Message(
        partition=record.partition,
        offset=record.offset,
        when=moment_of(record.timestamp),
        key=None if record.key is None else text_of(record.key[:kept]),
        headers=[(name, text_of((text or b"")[:kept])) for name, text in record.headers],
        value=None if value is None else text_of(value[:kept]),
        size=len(value or b""),
        cut=len(value or b"") > kept,
        letter=letter,
        done=done,
    )
