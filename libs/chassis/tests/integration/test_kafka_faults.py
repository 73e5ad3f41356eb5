"""A paused broker, and a broker that is unavailable at the start."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from kafka_support import (
    Handler,
    Happened,
    HappenedAsRead,
    fresh_topics,
    new_consumer,
    new_producer,
    read_topic,
    send_numbers,
    until,
)

from chassis.kafka.consumer import EventConsumer
from chassis.kafka.errors import BrokerUnavailable, NotConsuming, Unsendable
from chassis.kafka.producer import EventProducer
from fleet.processes.ports import free_port

PAUSE = 20.0


def recorder() -> tuple[list[int], Handler]:
    numbers: list[int] = []

    async def handle(event: HappenedAsRead) -> None:
        numbers.append(event.number)

    return numbers, handle


@pytest.fixture
async def producer(kafka_bootstrap: str) -> AsyncIterator[EventProducer]:
    producer = new_producer(kafka_bootstrap)
    await producer.start()
    yield producer
    await producer.stop()


@dataclass
class Party:
    """A group with its own producer, and the numbers that it handled."""

    producer: EventProducer
    consumer: EventConsumer
    numbers: list[int]

    async def start(self) -> None:
        await self.producer.start()
        self.consumer.start()

    async def probe(self) -> None:
        await self.producer.probe()
        await self.consumer.probe()

    async def stop(self) -> None:
        await self.consumer.stop(timeout=4)
        await self.producer.stop(timeout=1)

    def gone(self) -> bool:
        return not self.consumer._leaving and not self.producer._retired


def party(bootstrap: str, topic: str, name: str) -> Party:
    numbers, handle = recorder()
    producer = new_producer(bootstrap)
    consumer = new_consumer(bootstrap, f"{topic}-{name}", {topic: handle}, producer)
    return Party(producer, consumer, numbers)


async def test_broker_pause_of_20_s_loses_no_event_of_starting_or_stopping_consumers(
    kafka_server: Any, kafka_bootstrap: str
) -> None:
    """Issue 3: afterwards every event arrives in order per key, without a restart of a process."""
    (topic,) = fresh_topics(kafka_bootstrap, "paused")
    old, late, leaving = (
        party(kafka_bootstrap, topic, name) for name in ("old", "late", "leaving")
    )
    await asyncio.gather(old.start(), leaving.start())
    await send_numbers(old.producer, topic, range(30))
    await until(lambda: len(old.numbers) == len(leaving.numbers) == 30)

    kafka_server.pause()
    began = time.monotonic()
    try:
        sending = [
            asyncio.create_task(send_numbers(sender.producer, topic, numbers))
            for sender, numbers in ((old, range(30, 90)), (late, range(90, 120)))
        ]
        await late.start()
        assert time.monotonic() - began < 1, "start does not wait for the broker"
        await answers_no_probe(old, late)
        await leaving.stop()
        assert time.monotonic() - began < 9, "aiokafka's own stop() waits for the broker"
        await asyncio.sleep(PAUSE - (time.monotonic() - began))
    finally:
        kafka_server.resume()
    await asyncio.gather(*sending)
    for reader in (old, late):
        await until(partial(has_all, reader.numbers, 120))
        assert in_order_for_each_key([number for number in reader.numbers if number < 90])
        await reader.probe()
    await until(leaving.gone, what="the stopped consumer has ended")
    await asyncio.gather(old.stop(), late.stop())


async def answers_no_probe(old: Party, late: Party) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await old.probe()
    with pytest.raises(BrokerUnavailable):
        await late.producer.probe()
    with pytest.raises(NotConsuming):
        await late.consumer.probe()


def has_all(numbers: list[int], count: int) -> bool:
    return set(numbers) == set(range(count))


def in_order_for_each_key(numbers: list[int]) -> bool:
    """Return if the order is right, except for repeats of sends whose acknowledgement was lost."""
    once = list(dict.fromkeys(numbers))
    lanes = [[number for number in once if number % 30 == key] for key in range(30)]
    return all(lane == sorted(lane) for lane in lanes)


async def test_message_with_a_refused_dead_letter_is_delivered_again(
    kafka_bootstrap: str, producer: EventProducer
) -> None:
    """Promise 26: without its dead letter a message is not committed; the next member gets it."""
    (topic,) = fresh_topics(kafka_bootstrap, "unburied")
    refused = 0

    async def refuse(
        topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> None:
        nonlocal refused
        refused += 1
        raise BrokerUnavailable("dead-letter topic is not writable")

    numbers, handle = recorder()
    await producer.send(topic, "k", b"not JSON", {})
    await producer.send(topic, "k", Happened(number=1).to_bytes(), {})
    first = new_consumer(kafka_bootstrap, topic, {topic: handle}, producer, publish=refuse)
    first.start()
    await until(lambda: refused > 3, what="the consumer keeps retrying")
    await first.stop()
    assert numbers == [], "the next message of the same key waits"

    second = new_consumer(kafka_bootstrap, topic, {topic: handle}, producer)
    second.start()
    (letter,) = await read_topic(kafka_bootstrap, f"{topic}.dlq", 1, timeout=30)
    assert letter.value == b"not JSON"
    await until(lambda: numbers == [1])
    await second.stop()


async def test_consecutive_failures_stop_the_group_and_fail_readiness(
    kafka_bootstrap: str, producer: EventProducer
) -> None:
    (topic,) = fresh_topics(kafka_bootstrap, "broken")

    async def broken(event: HappenedAsRead) -> None:
        raise RuntimeError("a bug in every message")

    await send_numbers(producer, topic, range(100))
    consumer = new_consumer(kafka_bootstrap, topic, {topic: broken}, producer)
    consumer.start()
    await until(lambda: halted(consumer.probe), what="halted")
    letters = await read_topic(kafka_bootstrap, f"{topic}.dlq", 20)
    assert len(letters) == 20, "only 20 of the 100"
    await consumer.stop()


def halted(probe: Callable[[], Any]) -> bool:
    coroutine = probe()
    try:
        coroutine.send(None)
    except NotConsuming as error:
        return "halted" in str(error)
    except StopIteration:
        return False
    coroutine.close()
    return False


async def test_invalid_record_is_unsendable_and_the_next_one_is_sent(
    kafka_bootstrap: str, producer: EventProducer
) -> None:
    (topic,) = fresh_topics(kafka_bootstrap, "large")
    with pytest.raises(Unsendable):
        await producer.send(topic, "k", b"x" * 2_000_000, {})
    await producer.send(topic, "k", b"x" * 900_000, {})


async def test_start_returns_at_once_and_stop_in_time_without_a_broker() -> None:
    producer = new_producer(f"127.0.0.1:{free_port()}")
    _, handle = recorder()
    consumer = new_consumer("127.0.0.1:1", "nobody", {"nothing": handle}, producer)
    began = time.monotonic()
    await producer.start()
    consumer.start()
    sending = asyncio.create_task(producer.send("nothing", "k", b"1", {}))
    await asyncio.sleep(0.5)
    await consumer.stop(timeout=2)
    await producer.stop(timeout=2)
    assert time.monotonic() - began < 3
    with pytest.raises(BrokerUnavailable):
        await sending
