"""Reads topics as nobody's member: it joins no group, commits nothing and keeps no connection.

How far a partition goes is asked of a fetch, not of the broker's "latest offset": the embedded
broker tells that wrong.
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
_STALL = 8.0  # seconds without any progress after which a broker counts as away
_POLL = 50  # milliseconds


class BrokerAway(FleetError):
    """The broker does not answer, or not as it should."""


@dataclass(frozen=True)
class Span:
    """The offsets of one partition that are there: from ``first`` until before ``end``."""

    first: int
    end: int

    def __len__(self) -> int:
        return max(0, self.end - self.first)

    def last(self, count: int) -> Span:
        """The latest ``count`` of it."""
        return Span(max(self.first, self.end - count), self.end)


@contextlib.asynccontextmanager
async def broker_errors(bootstrap: str) -> AsyncIterator[None]:
    """Turn whatever the client says of a broker that is away into one ``BrokerAway``."""
    try:
        yield
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise BrokerAway(f"Kafka at {bootstrap} does not answer ({said}).") from error


@contextlib.asynccontextmanager
async def topic_reader(bootstrap: str) -> AsyncIterator[TopicReader]:
    """A reader, connected; what fails inside because of the broker is a ``BrokerAway``."""
    # The client reports at length what is one sentence here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    options = {"bootstrap_servers": bootstrap, "request_timeout_ms": round(_REQUEST * 1000)}
    async with broker_errors(bootstrap):
        admin = AIOKafkaAdminClient(**options)
        consumer = AIOKafkaConsumer(
            **options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # of a span whose beginning was deleted meanwhile
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
    """Close clients; one whose broker is away may never come to its end, and is left behind."""
    tasks = [asyncio.create_task(closing) for closing in closings]
    done, _ = await asyncio.wait(tasks, timeout=_REQUEST)
    for task in done:
        task.exception()  # it has ended, however


class TopicReader:
    """What can be asked of a broker without leaving a trace there."""

    def __init__(self, admin: Any, consumer: Any) -> None:
        """Both connected; ``topic_reader`` makes and closes them."""
        self._admin = admin
        self._consumer = consumer

    async def topics(self) -> dict[str, int]:
        """Name → partitions, without the broker's own topics."""
        found = await self._admin.describe_topics()
        return {
            topic["topic"]: len(topic["partitions"])
            for topic in sorted(found, key=lambda topic: str(topic["topic"]))
            if not topic["is_internal"] and not topic["topic"].startswith("__")
        }

    async def groups(self) -> list[str]:
        """The names of the consumer groups that the broker knows."""
        return sorted({name for name, *_ in await self._admin.list_consumer_groups()})

    async def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """How far a group has come, for those partitions where it has committed.

        Asked as an administrator; with the partitions named, which the embedded broker demands.
        """
        answer = await self._admin.list_consumer_group_offsets(group, partitions=list(partitions))
        return {tp: found.offset for tp, found in answer.items() if found.offset >= 0}

    async def spans(self, topics: Mapping[str, int]) -> dict[TopicPartition, Span]:
        """What there is of these topics (name → partitions) now."""
        partitions = [TopicPartition(name, i) for name, n in topics.items() for i in range(n)]
        if not partitions:
            return {}
        # Assigned at once, or the client would look up the topics one by one, 0.1 s for each.
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
        """The records of these spans, in order within each partition."""
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
            # Not by the last record: the end of a compacted or transactional topic has none.
            positions = {tp: await self._consumer.position(tp) for tp in wanted}
            behind = {tp for tp in wanted if positions[tp] < wanted[tp].end}
            waiting.check(progress=tuple(positions.values()))

    def _read_from(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Without an await between the two: the client would look for an offset by itself."""
        self._consumer.assign(list(offsets))
        for tp, offset in offsets.items():
            self._consumer.seek(tp, offset)


class _Patience:
    """Ends the wait for a broker that says nothing new for too long."""

    def __init__(self) -> None:
        self._seen: Iterable[Any] = ()
        self._since = time.monotonic()

    def check(self, progress: Iterable[Any]) -> None:
        if progress != self._seen:
            self._seen, self._since = progress, time.monotonic()
        elif time.monotonic() - self._since > _STALL:
            raise TimeoutError(f"nothing came for {_STALL:.0f} s")
