"""Compressed batches, and batches that cannot be decoded.

Apache Kafka refuses to store damaged batches: in production they result from disk errors. The
embedded broker accepts them, so the tests that write one use `kafka_server`.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from kafka_support import (
    Happened,
    HappenedAsRead,
    fresh_topics,
    new_consumer,
    new_producer,
    read_topic,
    until,
)
from raw_batches import batch, damaged_batches, with_attributes, write

from chassis.kafka.consumer import EventConsumer
from chassis.kafka.producer import EventProducer

CODECS = ("gzip", "snappy", "lz4", "zstd")
KINDS = tuple(damaged_batches(b""))
NAMES = (*CODECS, *(kind.replace(" ", "-") for kind in KINDS), "many", "odd", "large")


def event(number: int) -> bytes:
    return Happened(number=number).to_bytes()


class Group:
    """One running group on all topics of this module; joining takes seconds."""

    def __init__(self, bootstrap: str, producer: EventProducer) -> None:
        self.bootstrap = bootstrap
        topics = fresh_topics(bootstrap, *NAMES)
        self.topics = dict(zip(NAMES, topics, strict=True))
        self.handled: dict[str, list[int]] = {topic: [] for topic in topics}
        handlers = {topic: self._recorder(topic) for topic in topics}
        self.consumer: EventConsumer = new_consumer(bootstrap, topics[0], handlers, producer)

    def _recorder(self, topic: str) -> Any:
        async def handle(event: HappenedAsRead) -> None:
            self.handled[topic].append(event.number)

        return handle

    async def letters(self, name: str, count: int) -> list[dict[str, str]]:
        """Return the headers of a topic's dead letters."""
        found = await read_topic(self.bootstrap, f"{self.topics[name]}.dlq", count)
        assert len(found) == count
        assert {letter.value for letter in found} == {b""}
        return [{name: value.decode() for name, value in letter.headers} for letter in found]


@pytest.fixture(scope="module")
async def group(kafka_bootstrap: str) -> AsyncIterator[Group]:
    producer = new_producer(kafka_bootstrap)
    await producer.start()
    group = Group(kafka_bootstrap, producer)
    group.consumer.start()
    yield group
    await group.consumer.stop()
    await producer.stop()


@pytest.mark.parametrize("codec", CODECS)
async def test_batch_of_every_codec_is_handled(group: Group, codec: str) -> None:
    """Promise 67."""
    topic = group.topics[codec]
    producer = AIOKafkaProducer(
        bootstrap_servers=group.bootstrap, compression_type=codec, linger_ms=200
    )
    await producer.start()
    try:
        for number in range(50):
            await producer.send(topic, event(number), b"k")
    finally:
        await producer.stop()
    await until(lambda: len(group.handled[topic]) == 50, what=f"{codec} handled")
    assert group.handled[topic] == list(range(50))


@pytest.mark.usefixtures("kafka_server")
@pytest.mark.parametrize("kind", KINDS)
async def test_undecodable_batch_is_a_dead_letter_and_the_rest_is_handled(
    group: Group, kind: str
) -> None:
    """Promise 67: the dead letter names the offsets; messages before and after it are handled."""
    name = kind.replace(" ", "-")
    topic = group.topics[name]
    bad = damaged_batches(event(90), event(91))[kind]
    before = batch(event(1), event(2), event(3))
    after = [batch(event(number)) for number in range(4, 14)]
    offsets = await write(group.bootstrap, topic, before, bad, *after)
    assert offsets == [0, 3, *range(5, 15)]

    await until(lambda: len(set(group.handled[topic]) - {90}) == 13, what=f"{kind}: other messages")
    (headers,) = await group.letters(name, 1)
    decoded = group.handled[topic].count(90)  # the first of its two messages may be intact
    assert group.handled[topic] == [1, 2, 3, *[90] * decoded, *range(4, 14)]
    assert headers["x-original-topic"] == topic
    assert headers["x-original-partition"] == "0"
    assert headers["x-original-offset"] == str(3 + decoded)
    assert headers["x-original-last-offset"] == "4"
    assert headers["x-dropped-bytes"] == str(len(bad))
    assert headers["x-error-class"] == "Undecodable"
    assert headers["x-error"]
    await group.consumer.probe()


@pytest.mark.usefixtures("kafka_server")
async def test_hundreds_of_undecodable_batches_are_skipped_within_30_s(
    group: Group,
) -> None:
    topic = group.topics["many"]
    bad = list(damaged_batches(event(1)).values())
    await write(group.bootstrap, topic, *bad * 25, batch(event(1)), *bad * 25, batch(event(2)))
    await until(lambda: 2 in group.handled[topic], what="the messages between and after them")
    assert group.handled[topic] == [1, 2]
    letters = await group.letters("many", 50 * len(bad))
    places = sorted(int(headers["x-original-offset"]) for headers in letters)
    assert len(set(places)) == len(places)


@pytest.mark.usefixtures("kafka_server")
async def test_batches_without_a_message_are_skipped(group: Group) -> None:
    """Control batches (transaction markers), a tombstone, headers without a value."""
    topic = group.topics["odd"]
    control = with_attributes(batch(b"\0\0\0\0\0\0", key=b"\0\0\0\1"), 0x20)
    no_value = batch(None, headers=[("nothing", None)])
    nothing = batch(None, key=None)
    await write(group.bootstrap, topic, control, no_value, nothing, control, batch(event(7)))
    await until(lambda: group.handled[topic] == [7])
    found = await read_topic(group.bootstrap, f"{topic}.dlq", 2)
    assert [dict(letter.headers)["x-error"] for letter in found] == [b"no value"] * 2


@pytest.mark.usefixtures("kafka_server")
async def test_dead_letter_of_an_oversized_key_and_header_keeps_the_offset(group: Group) -> None:
    topic = group.topics["large"]
    key = batch(b"{", key=b"k" * 1_100_000)
    header = batch(b"{", headers=[("h", b"v" * 1_100_000)])
    value = batch(b"v" * 1_100_000)
    await write(group.bootstrap, topic, key, header, value, batch(event(7)))
    await until(lambda: group.handled[topic] == [7])
    letters = await group.letters("large", 3)
    assert {headers["x-original-offset"] for headers in letters} == {"0", "1", "2"}
    assert all(int(headers["x-dropped-bytes"]) >= 1 for headers in letters)
