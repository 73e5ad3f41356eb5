"""Poll a consumer past two states in which aiokafka stops: undecodable batches, recreated topics.

aiokafka raises from `getmany` when a batch has a wrong checksum, an unknown codec or damaged data
(aio-libs/aiokafka#321). It names neither the partition nor the end of the batch and fetches the
same batch again. `Poller` fetches the batch once more and reads both from its header, with
aiokafka's own protocol classes: the documented API has no access to a raw batch.

Offsets of a topic that was deleted and created again start from 0. Kafka answers a fetch past the
end with an error, and aiokafka resets the position. The embedded broker answers with no messages.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from struct import Struct
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import CorruptRecordException, RecordTooLargeError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

log = logging.getLogger(__name__)

METADATA_MAX_AGE_MS = 10_000
"""How late a consumer may notice a new topic or partition; aiokafka's own value is 5 minutes."""

_FETCH_BYTES = 1_048_576  # aiokafka's own `max_partition_fetch_bytes`
_READ_UNCOMMITTED = 0
_WAIT_MILLISECONDS = 1_000  # for a slow broker; the messages asked for are known to be there
_LOOKUP_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_PAST_END_SECONDS = 5.0
_HEADER = Struct(">qi")  # base offset and length, the same in every format


@dataclass(frozen=True, slots=True)
class UndecodableBatch:
    """Stands for the messages of a batch that cannot be decoded, in place of a ConsumerRecord."""

    topic: str
    partition: int
    offset: int  # of its first unread message
    next_offset: int  # of the first message after it
    timestamp: int  # milliseconds since 1970, of its latest message; 0 if unknown
    size: int  # bytes
    reason: str  # the class of the decoder's error, whose text may quote the data
    key: None = None
    value: None = None
    headers: tuple[()] = ()


Record = Any
"""aiokafka's ConsumerRecord, which has no types of its own, or an UndecodableBatch."""


def next_offset(record: Record) -> int:
    """Return the offset to commit when this record is done."""
    if isinstance(record, UndecodableBatch):
        return record.next_offset
    return int(record.offset) + 1


class Poller:
    """Reads one consumer's messages; use it in place of the consumer's `getmany`."""

    def __init__(self, consumer: Any, bootstrap_servers: str) -> None:
        self._consumer = consumer
        self._bootstrap_servers = bootstrap_servers
        self._looked_at = time.monotonic()
        self._past_end: dict[Any, float] = {}

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Any, Sequence[Record]]:
        """Return the next messages of a partition, or the undecodable batches in their place.

        Args:
            timeout_ms: how long to wait for a first message.
            max_records: the most messages to return.

        Raises:
            Exception: what `getmany` raises, unless an undecodable batch is the cause.
        """
        await self._reset_positions_past_end()
        try:
            # When getmany raises, it loses what it has read before in the same call. With a limit
            # of one message it has read nothing, and every position is exact.
            first = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=1)
        except Exception as error:
            return await self._read_undecodable(error)
        found = dict(first)
        for partition in first:
            with suppress(Exception):  # the next poll meets it again, at its exact position
                more = await self._consumer.getmany(partition, max_records=max_records)
                found[partition] = [*first[partition], *more.get(partition, ())]
        return found

    async def _reset_positions_past_end(self) -> None:
        """Read a partition from its beginning if its position stays past the high watermark."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        past_end: dict[Any, float] = {}
        for partition in self._consumer.assignment():
            highwater = self._consumer.highwater(partition)
            if highwater is None or await self._consumer.position(partition) <= highwater:
                continue
            # A new leader may report a lower high watermark for a moment.
            past_end[partition] = self._past_end.get(partition, now)
            if now - past_end[partition] >= _PAST_END_SECONDS:
                log.warning("position past the end of the partition", extra=_fields(partition))
                await self._consumer.seek_to_beginning(partition)
        self._past_end = past_end

    async def _read_undecodable(self, error: Exception) -> Mapping[Any, Sequence[Record]]:
        """Return the undecodable batches that come next and move on; raise `error` for none."""
        found: dict[Any, Sequence[Record]] = {}
        async with asyncio.timeout(_LOOKUP_SECONDS):
            async with _connection(self._bootstrap_servers, self._consumer) as client:
                for partition in self._consumer.assignment():
                    position = await self._consumer.position(partition)
                    if position >= (self._consumer.highwater(partition) or 0):
                        continue  # nothing was fetched of it, so nothing can have failed
                    batches = await _fetch_undecodable(client, partition, position)
                    # A rebalance may have taken the partition away meanwhile.
                    if batches and await self._consumer.position(partition) == position:
                        self._consumer.seek(partition, batches[-1].next_offset)
                        found[partition] = batches
                        for batch in batches:
                            fields = {"offset": batch.offset, "error": batch.reason}
                            log.error("undecodable batch", extra=_fields(partition) | fields)
        if not found:
            raise error
        return found


@asynccontextmanager
async def _connection(bootstrap_servers: str, consumer: Any) -> AsyncIterator[Any]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, client_id="undecodable-batches")
    try:
        await client.bootstrap()
        await client.set_topics({partition.topic for partition in consumer.assignment()})
        yield client
    finally:
        await client.close()


async def _fetch_undecodable(
    client: Any, partition: TopicPartition, position: int
) -> list[UndecodableBatch]:
    leader = client.cluster.leader_for_partition(partition)
    wanted = [(partition.topic, [(partition.partition, position, _FETCH_BYTES)])]
    request = FetchRequest(_WAIT_MILLISECONDS, 1, _FETCH_BYTES, _READ_UNCOMMITTED, wanted)
    answer = await client.send(leader, request)
    for _, partitions in answer.topics:
        for _, error_code, highwater, *_, data in partitions:
            if not error_code and data:
                return find_undecodable(bytes(data), partition, position, highwater)
    return []


def find_undecodable(
    data: bytes, partition: TopicPartition, position: int, highwater: int
) -> list[UndecodableBatch]:
    """Return the undecodable batches before the first readable message from `position` on.

    Args:
        data: the batches of a fetch, as the broker stores them; not empty.
        highwater: the end of the partition.
    """
    found: list[UndecodableBatch] = []
    raw_batches = list(_split(data)) or [(position, data)]
    bases = [base_offset for base_offset, _ in raw_batches[1:]]
    for (_, raw), next_base in zip(raw_batches, [*bases, highwater], strict=True):
        header: Any = None
        try:
            header = MemoryRecords(raw).next_batch()
            if header is None:
                raise RecordTooLargeError("longer than a fetch, or a damaged length")
            if _has_message(header, position):
                break
        except Exception as error:  # each codec has error classes of its own
            # A damaged header may claim any end. Never skip the batch that follows.
            claimed = getattr(header, "next_offset", position)
            end = max(min(claimed, next_base), position + 1)
            found.append(
                UndecodableBatch(
                    topic=partition.topic,
                    partition=partition.partition,
                    offset=position,
                    next_offset=end,
                    timestamp=getattr(header, "max_timestamp", 0),
                    size=len(raw),
                    reason=type(error).__name__,
                )
            )
            position = end
        else:
            position = max(position, header.next_offset)
    return found


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the base offset and the bytes of each complete batch, of whatever format."""
    start = 0
    while start + _HEADER.size <= len(data):
        base_offset, length = _HEADER.unpack_from(data, start)
        end = start + _HEADER.size + length
        if length < 0 or end > len(data):
            return
        yield base_offset, data[start:end]
        start = end


def _has_message(batch: Any, position: int) -> bool:
    """True if the batch holds a message for a consumer at `position`; decodes no further."""
    if not batch.validate_crc():
        raise CorruptRecordException("wrong checksum")
    return not batch.is_control_batch and any(record.offset >= position for record in batch)


def _fields(partition: TopicPartition) -> dict[str, object]:
    return {"topic": partition.topic, "partition": partition.partition}
