"""Record batches as bytes, valid and damaged, written to a topic without aiokafka's producer."""

import asyncio
import struct
import time
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

_CRC, _ATTRIBUTES, _LAST_OFFSET_DELTA = 17, 21, 23
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_CONTROL = 0x20

Headers = Sequence[tuple[str, bytes | None]]


def batch(
    *values: bytes | None, key: bytes | None = b"key", headers: Headers = (), codec: int = 0
) -> bytes:
    """Return a valid batch of format 2."""
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 24)
    now = round(time.time() * 1000)
    for index, value in enumerate(values):
        builder.append(index, now, key, value, list(headers))
    return bytes(builder.build())


def with_crc(raw: bytes) -> bytes:
    """Return the batch with a checksum recomputed from its content."""
    return raw[:_CRC] + struct.pack(">I", calc_crc32c(raw[_ATTRIBUTES:])) + raw[_ATTRIBUTES:]


def with_attributes(raw: bytes, attributes: int) -> bytes:
    changed = raw[:_ATTRIBUTES] + struct.pack(">h", attributes) + raw[_LAST_OFFSET_DELTA:]
    return with_crc(changed)


def damaged_batches(*values: bytes) -> dict[str, bytes]:
    """Return undecodable batches of these values, by kind of damage."""
    plain = batch(*values)
    named = batch(*values, headers=[("name", b"value")])
    found = {
        "wrong checksum": plain[:-3] + b"\xff\xff\xff",
        "damaged record": with_crc(plain[:-3] + b"\xff\xff\xff"),
        "header name not in UTF-8": with_crc(named.replace(b"name", b"n\xff\xfee")),
        "uncompressed but marked as compressed": with_attributes(plain, _GZIP),
    }
    for name, codec in {"gzip": _GZIP, "snappy": _SNAPPY, "lz4": _LZ4, "zstd": _ZSTD}.items():
        compressed = batch(*(value * 200 for value in values), codec=codec)
        found[f"{name} cut short"] = with_crc(compressed[:61] + compressed[61:-9] + bytes(9))
    return found


async def write(bootstrap: str, topic: str, *batches: bytes, partition: int = 0) -> list[int]:
    """Append batches to a partition; return the offset of the first message of each batch."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        return [await _append(client, topic, partition, raw) for raw in batches]
    finally:
        await client.close()


async def _append(client: AIOKafkaClient, topic: str, partition: int, raw: bytes) -> int:
    async with asyncio.timeout(15):
        while True:
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            request = ProduceRequest(None, -1, 10_000, [(topic, [(partition, raw)])])
            answer = await client.send(leader, request)
            _, error_code, offset, *_ = answer.topics[0][1][0]
            if error_code == 0:
                return int(offset)
            error = for_code(error_code)
            assert error.invalid_metadata, f"the broker refused a batch: {error.__name__}"
            await client.force_metadata_update()  # a new topic has no leader for a moment
