"""One consumer group on a real broker. Joining takes seconds, so all tests share one group.

Each test has its own topic.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
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
from prometheus_client import CollectorRegistry

from chassis.kafka.consumer import EventConsumer
from chassis.kafka.errors import DependencyDown, Refused
from chassis.kafka.producer import EventProducer
from chassis.observability.tracing import trace_id

NAMES = ("poison", "order", "heals", "fails", "refused", "waits", "replay", "trace", "history")
DAY = 24 * 3600


@dataclass
class Bench:
    """The running group; a test may replace the handler of its topic in `handlers`."""

    bootstrap: str
    producer: EventProducer
    registry: CollectorRegistry
    topics: dict[str, str]
    handled: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    handlers: dict[str, Handler] = field(default_factory=dict)
    consumer: EventConsumer | None = None
    prepared: int = 0

    async def handle(self, name: str, event: HappenedAsRead) -> None:
        assert self.prepared, "a message was handled before its partition was prepared"
        if name in self.handlers:
            await self.handlers[name](event)
        self.handled[name].append(event.number)

    async def prepare(self) -> None:
        await asyncio.sleep(0.3)  # a handler that does not wait would run before this ends
        self.prepared += 1

    def sample(self, metric: str, name: str, **labels: str) -> float:
        labels = {"topic": self.topics[name], **labels}
        return self.registry.get_sample_value(metric, labels) or 0.0

    def outcomes(self, name: str, outcome: str) -> float:
        return self.sample("kafka_consumer_messages_total", name, outcome=outcome)

    def lag(self, name: str) -> float:
        return sum(self.sample("kafka_consumer_lag", name, partition=str(n)) for n in range(3))

    async def dead(self, name: str, count: int) -> list[Any]:
        return await read_topic(self.bootstrap, f"{self.topics[name]}.dlq", count)


@pytest.fixture(scope="module")
async def bench(kafka_bootstrap: str) -> AsyncIterator[Bench]:
    topics = dict(zip(NAMES, fresh_topics(kafka_bootstrap, *NAMES), strict=True))
    producer = new_producer(kafka_bootstrap)
    await producer.start()
    bench = Bench(kafka_bootstrap, producer, CollectorRegistry(), topics)
    await write_history(kafka_bootstrap, topics["history"])
    handlers: dict[str, Handler] = {
        topic: partial(bench.handle, name) for name, topic in topics.items()
    }
    bench.consumer = new_consumer(
        kafka_bootstrap,
        "bench",
        handlers,
        producer,
        registry=bench.registry,
        on_assigned=bench.prepare,
    )
    bench.consumer.start()
    yield bench
    await bench.consumer.stop()
    await producer.stop()


async def write_history(bootstrap: str, topic: str) -> None:
    """Write ten messages of yesterday and ten of an hour ago."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    now = time.time()
    for number in range(20):
        age = DAY + 60 if number < 10 else 3600
        value = Happened(number=number).to_bytes()
        moment = round((now - age) * 1000)
        await producer.send_and_wait(topic, value, key=b"k", timestamp_ms=moment)
    await producer.stop()


def headers_of(record: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


async def test_one_invalid_message_of_1000_becomes_a_dead_letter_and_blocks_no_other(
    bench: Bench,
) -> None:
    """Promise 25: 999 handled, one dead letter with offset and reason, lag 0."""
    topic = bench.topics["poison"]
    await send_numbers(bench.producer, topic, range(500))
    await bench.producer.send(topic, "key-7", b"{not JSON", {"own": "kept"})
    await send_numbers(bench.producer, topic, range(500, 999))

    await until(lambda: len(bench.handled["poison"]) == 999, what="999 handled")
    assert sorted(bench.handled["poison"]) == list(range(999))
    (letter,) = await bench.dead("poison", 1)
    assert (letter.key, letter.value) == (b"key-7", b"{not JSON")
    headers = headers_of(letter)
    (original,) = [
        record
        for record in await read_topic(bench.bootstrap, topic, 1_000)
        if record.value == letter.value
    ]
    assert headers["own"] == "kept"
    assert headers["x-original-topic"] == topic
    assert headers["x-original-partition"] == str(original.partition)
    assert headers["x-original-offset"] == str(original.offset)
    assert headers["x-error-class"] == "Unreadable"
    assert headers["x-error"] == "value: json_invalid"
    assert headers["x-attempts"] == "1"
    assert headers["x-consumer-group"] == "bench"
    assert headers["x-first-failure-at"].endswith("+00:00")
    await until(lambda: bench.lag("poison") == 0, what="lag 0")
    assert bench.outcomes("poison", "processed") == 999
    assert bench.outcomes("poison", "dead_lettered") == 1


async def test_messages_of_one_key_stay_in_order_while_partitions_overlap(bench: Bench) -> None:
    running, most = 0, 0
    by_key: dict[int, list[int]] = defaultdict(list)

    async def handle(event: HappenedAsRead) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(random.random() / 200)
        by_key[event.number % 30].append(event.number)
        running -= 1

    bench.handlers["order"] = handle
    await send_numbers(bench.producer, bench.topics["order"], range(600))
    await until(lambda: len(bench.handled["order"]) == 600)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert most == 3, "the three partitions run concurrently"


async def test_transient_failure_is_retried_without_a_dead_letter(bench: Bench) -> None:
    tries: dict[int, int] = defaultdict(int)

    async def handle(event: HappenedAsRead) -> None:
        tries[event.number] += 1
        if event.number == 5 and tries[5] < 4:
            raise OSError("for a moment")

    bench.handlers["heals"] = handle
    await send_numbers(bench.producer, bench.topics["heals"], range(20), keys=1)
    await until(lambda: len(bench.handled["heals"]) == 20)
    assert bench.handled["heals"] == list(range(20)), "the next message of the key waited for it"
    assert tries[5] == 4
    assert bench.outcomes("heals", "dead_lettered") == 0


async def test_permanent_failure_becomes_a_dead_letter_without_personal_data(
    bench: Bench,
) -> None:
    """Promise 57 for dead letters: they omit the error's text, which quotes the customer."""

    async def handle(event: HappenedAsRead) -> None:
        if event.number == 3:
            raise LookupError("no such customer: alice@example.com")

    bench.handlers["fails"] = handle
    await send_numbers(bench.producer, bench.topics["fails"], range(6))
    (letter,) = await bench.dead("fails", 1)
    headers = headers_of(letter)
    assert headers["x-error-class"] == "LookupError"
    assert headers["x-attempts"] == "5"
    assert "alice" not in str(headers)
    await until(lambda: sorted(bench.handled["fails"]) == [0, 1, 2, 4, 5])


async def test_refused_message_is_a_dead_letter_after_one_attempt(bench: Bench) -> None:
    async def handle(event: HappenedAsRead) -> None:
        if event.number == 1:
            raise Refused("recipient refused (550)")

    bench.handlers["refused"] = handle
    await send_numbers(bench.producer, bench.topics["refused"], range(3))
    (letter,) = await bench.dead("refused", 1)
    headers = headers_of(letter)
    assert (headers["x-attempts"], headers["x-error"]) == ("1", "recipient refused (550)")
    await until(lambda: sorted(bench.handled["refused"]) == [0, 2])


async def test_unavailable_dependency_pauses_only_its_partition(
    bench: Bench,
) -> None:
    back = asyncio.Event()
    tries = 0

    async def handle(event: HappenedAsRead) -> None:
        nonlocal tries
        if event.number % 30 == 0 and not back.is_set():
            tries += 1
            raise DependencyDown("mail server")

    bench.handlers["waits"] = handle
    await send_numbers(bench.producer, bench.topics["waits"], range(90))
    await until(lambda: tries > 20, what="more attempts than a bounded retry")
    await until(lambda: len(bench.handled["waits"]) > 30, what="other partitions go on")
    assert not {0, 30, 60} & set(bench.handled["waits"])
    back.set()
    await until(lambda: len(bench.handled["waits"]) == 90)
    assert [n for n in bench.handled["waits"] if n % 30 == 0] == [0, 30, 60]
    assert bench.outcomes("waits", "dead_lettered") == 0


async def test_replayed_message_is_handled_only_by_its_group(
    bench: Bench,
) -> None:
    topic = bench.topics["replay"]
    for number, group in enumerate(("another-group", "bench", None)):
        headers = {"x-replay-group": group} if group else {}
        await bench.producer.send(topic, "k", Happened(number=number).to_bytes(), headers)
    await until(lambda: len(bench.handled["replay"]) == 2)
    assert bench.handled["replay"] == [1, 2]
    assert bench.outcomes("replay", "skipped_replay") == 1


async def test_handler_continues_the_trace_of_the_sender(bench: Bench) -> None:
    seen: list[str | None] = []

    async def handle(event: HappenedAsRead) -> None:
        seen.append(trace_id())

    bench.handlers["trace"] = handle
    parent = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-03"}
    value = Happened(number=1).to_bytes()
    await bench.producer.send(bench.topics["trace"], "k", value, parent)
    await until(lambda: bool(bench.handled["trace"]))
    assert seen == ["ab" * 16]


async def test_new_group_skips_and_counts_messages_older_than_a_day(bench: Bench) -> None:
    await until(lambda: len(bench.handled["history"]) == 10)
    assert bench.handled["history"] == list(range(10, 20))
    assert bench.outcomes("history", "skipped_old") == 10


async def test_consumer_is_ready_once_it_consumes(bench: Bench) -> None:
    assert bench.consumer is not None
    await until(lambda: bench.prepared > 0)
    await bench.consumer.probe()
    polled = bench.registry.get_sample_value("kafka_consumer_last_poll_timestamp_seconds")
    assert polled is not None
    assert time.time() - polled < 5
