"""Where an undecodable batch ends, read from the bytes of a fetch."""

import struct

import pytest
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from chassis.kafka.batches import find_undecodable

PARTITION = TopicPartition("orders", 0)


def batch(base_offset: int, count: int, *, damaged: bool = False) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
    for index in range(count):
        builder.append(index, 1_000, b"key", b"value", [])
    raw = struct.pack(">q", base_offset) + bytes(builder.build())[8:]
    return raw[:-1] + b"\xff" if damaged else raw


def legacy(offset: int, magic: int) -> bytes:
    """One message in format 0 or 1, which old brokers still keep on disk."""
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    builder.append(0, 1_000, b"key", b"value")
    return struct.pack(">q", offset) + bytes(builder.build())[8:]


def ranges(data: bytes, position: int, highwater: int = 100) -> list[tuple[int, int]]:
    found = find_undecodable(data, PARTITION, position, highwater)
    return [(one.offset, one.next_offset) for one in found]


def test_readable_batch_is_not_undecodable() -> None:
    assert ranges(batch(0, 3), position=1) == []


def test_incomplete_batch_is_skipped_by_one_offset() -> None:
    assert ranges(batch(4, 2)[:-1], position=4) == [(4, 5)]
    assert ranges(b"\0" * 5, position=4) == [(4, 5)]


def test_undecodable_batch_is_left_out_from_the_position_on() -> None:
    assert ranges(batch(0, 3, damaged=True) + batch(3, 1), position=1) == [(1, 3)]


def test_run_of_undecodable_batches_ends_at_the_first_readable_one() -> None:
    data = batch(4, 2, damaged=True) + batch(6, 1, damaged=True) + batch(7, 1)
    assert ranges(data + batch(8, 1, damaged=True), position=4) == [(4, 6), (6, 7)]


@pytest.mark.parametrize(("following", "end"), [(batch(2, 1), 2), (b"", 5)])
def test_damaged_length_never_skips_the_next_batch(following: bytes, end: int) -> None:
    raw = batch(0, 2)
    claims_a_million = raw[:23] + struct.pack(">i", 1_000_000) + raw[27:]
    assert ranges(claims_a_million + following, position=0, highwater=5) == [(0, end)]


def test_damaged_length_moves_on_by_one_offset_at_least() -> None:
    raw = batch(0, 2)
    negative = raw[:23] + struct.pack(">i", -7) + raw[27:]
    assert ranges(negative, position=0) == [(0, 1)]


@pytest.mark.parametrize("magic", [0, 1])
def test_old_message_formats_are_readable_and_a_damaged_one_is_left_out(magic: int) -> None:
    raw = legacy(5, magic)
    assert ranges(raw, position=5) == []
    assert ranges(raw[:-1] + b"\xff" + legacy(6, magic), position=5) == [(5, 6)]


def test_reason_names_the_error_and_no_content() -> None:
    (found,) = find_undecodable(batch(0, 1, damaged=True), PARTITION, 0, 1)
    assert (found.reason, found.timestamp) == ("CorruptRecordException", 1_000)
    assert found.size == len(batch(0, 1))
