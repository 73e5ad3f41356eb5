"""Read topics without joining a consumer group or committing offsets.

The end of a partition is the high watermark of a fetch, because the embedded broker's "latest
offset" is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from fleet.errors import FleetError

Record = Any
"""aiokafka's ConsumerRecord, which has no types of its own."""

_REQUEST = 5.0  # seconds for one answer of the broker
_STALL = 8.0  # seconds without progress after which the broker counts as unavailable
_POLL = 50  # milliseconds


class BrokerAway(FleetError):
    """The broker does not answer, or answers with an error."""


@dataclass(frozen=True)
class Span:
    """The available offsets of one partition: ``first`` inclusive, ``end`` exclusive."""

    first: int
    end: int

    def __len__(self) -> int:
        return max(0, self.end - self.first)

    def last(self, count: int) -> Span:
        """Return the last ``count`` offsets."""
        return Span(max(self.first, self.end - count), self.end)


@contextlib.asynccontextmanager
async def broker_errors(bootstrap: str) -> AsyncIterator[None]:
    """Raise ``BrokerAway`` for every connection error of the client."""
    try:
        yield
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise BrokerAway(f"Kafka at {bootstrap} does not answer ({said}).") from error


@contextlib.asynccontextmanager
async def topic_reader(bootstrap: str) -> AsyncIterator[TopicReader]:
    """Yield a connected reader; raise ``BrokerAway`` if the broker fails inside the block."""
    # The client logs each failed attempt; the caller gets one error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    options = {"bootstrap_servers": bootstrap, "request_timeout_ms": round(_REQUEST * 1000)}
    async with broker_errors(bootstrap):
        admin = AIOKafkaAdminClient(**options)
        consumer = AIOKafkaConsumer(
            **options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # retention may delete the start of a span
            fetch_max_wait_ms=_POLL,
            fetch_max_bytes=8_000_000,
        )
        try:
            await admin.start()
            await consumer.start()
            yield TopicReader(admin, consumer)
        finally:
            await hang_up(consumer.stop(), admin.close())


async def hang_up(*closings: Coroutine[Any, Any, None]) -> None:
    """Close clients. Abandon a client that does not close, because its broker is unavailable."""
    tasks = [asyncio.create_task(closing) for closing in closings]
    done, _ = await asyncio.wait(tasks, timeout=_REQUEST)
    for task in done:
        task.exception()  # mark it as retrieved


class TopicReader:
    """Read-only requests to a broker."""

    def __init__(self, admin: Any, consumer: Any) -> None:
        """Both clients are connected; ``topic_reader`` closes them."""
        self._admin = admin
        self._consumer = consumer

    async def topics(self) -> dict[str, int]:
        """Return name → partitions, without internal topics."""
        found = await self._admin.describe_topics()
        return {
            topic["topic"]: len(topic["partitions"])
            for topic in sorted(found, key=lambda topic: str(topic["topic"]))
            if not topic["is_internal"] and not topic["topic"].startswith("__")
        }

    async def groups(self) -> list[str]:
        """Return the names of all consumer groups."""
        return sorted({name for name, *_ in await self._admin.list_consumer_groups()})

    async def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Return the committed offsets of a group, for the partitions that have one.

        The embedded broker requires the list of partitions.
        """
        answer = await self._admin.list_consumer_group_offsets(group, partitions=list(partitions))
        return {tp: found.offset for tp, found in answer.items() if found.offset >= 0}

    async def spans(self, topics: Mapping[str, int]) -> dict[TopicPartition, Span]:
        """Return the available offsets of these topics (name → partitions)."""
        partitions = [TopicPartition(name, i) for name, n in topics.items() for i in range(n)]
        if not partitions:
            return {}
        # Assign all partitions at once: the client needs 0.1 s for each separate lookup.
        self._read_from(dict.fromkeys(partitions, 0))
        self._consumer.pause(*partitions)
        first = await self._consumer.beginning_offsets(partitions)
        latest = await self._consumer.end_offsets(partitions)
        self._read_from(latest)
        highwater: dict[TopicPartition, int | None] = dict.fromkeys(partitions)
        waiting = _Patience()
        while None in highwater.values():
            await self._consumer.getmany(timeout_ms=_POLL)
            highwater = {tp: self._consumer.highwater(tp) for tp in partitions}
            waiting.check(progress=tuple(highwater.values()))
        return {tp: Span(first[tp], end) for tp, end in highwater.items() if end is not None}

    async def records(self, spans: Mapping[TopicPartition, Span]) -> AsyncIterator[Record]:
        """Yield the records of these spans, in order within each partition."""
        wanted = {tp: span for tp, span in spans.items() if len(span)}
        if not wanted:
            return
        self._read_from({tp: span.first for tp, span in wanted.items()})
        waiting, behind = _Patience(), set(wanted)
        while behind:
            batches = await self._consumer.getmany(timeout_ms=_POLL)
            for tp, records in batches.items():
                for record in records:
                    if record.offset < wanted[tp].end:
                        yield record
            # Compare positions: a compacted or transactional topic may have no last record.
            positions = {tp: await self._consumer.position(tp) for tp in wanted}
            behind = {tp for tp in wanted if positions[tp] < wanted[tp].end}
            waiting.check(progress=tuple(positions.values()))

    def _read_from(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Assign and seek without an await between, else the client resolves offsets itself."""
        self._consumer.assign(list(offsets))
        for tp, offset in offsets.items():
            self._consumer.seek(tp, offset)


class _Patience:
    """Raise ``TimeoutError`` after too long without progress."""

    def __init__(self) -> None:
        self._seen: Iterable[Any] = ()
        self._since = time.monotonic()

    def check(self, progress: Iterable[Any]) -> None:
        if progress != self._seen:
            self._seen, self._since = progress, time.monotonic()
        elif time.monotonic() - self._since > _STALL:
            raise TimeoutError(f"no progress for {_STALL:.0f} s")
