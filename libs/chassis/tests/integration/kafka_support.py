"""Helpers of the Kafka tests: an event class, topics, producers, consumers, polling."""

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import CollectorRegistry

from chassis.kafka.consumer import EventConsumer
from chassis.kafka.events import Envelope, Event
from chassis.kafka.message_processor import ConsumerPolicy, Subscription
from chassis.kafka.producer import EventProducer
from fleet.errors import FleetError
from fleet.servers.kafka import create_topics

PARTITIONS = 3
SESSION = 6.0
"""Seconds; the minimum of a real broker. A join at the embedded broker takes half of it."""
IDEMPOTENCE = "TEST_KAFKA_BOOTSTRAP_SERVERS" in os.environ
"""Only a real broker, given by its address, supports it; the embedded broker does not."""
QUICK = ConsumerPolicy(backoff=0.02, backoff_max=0.2)


class Happened(Event):
    event_type: Literal["HAPPENED"] = "HAPPENED"
    number: int


class HappenedAsRead(Envelope):
    event_type: Literal["HAPPENED"]
    number: int


Handler = Callable[[HappenedAsRead], Awaitable[None]]


def fresh_topics(bootstrap: str, *names: str) -> list[str]:
    """Create topics with unique names and their dead-letter topics, to isolate tests."""
    topics = [f"{name}-{secrets.token_hex(4)}" for name in names]
    wanted = {name: PARTITIONS for topic in topics for name in (topic, f"{topic}.dlq")}
    create_topics(bootstrap, wanted)
    return topics


def new_producer(bootstrap: str, **options: Any) -> EventProducer:
    return EventProducer(
        bootstrap, "test", idempotence=IDEMPOTENCE, registry=CollectorRegistry(), **options
    )


def new_consumer(
    bootstrap: str,
    group: str,
    handlers: dict[str, Handler],
    producer: EventProducer,
    **options: Any,
) -> EventConsumer:
    routes = [Subscription(topic, HappenedAsRead, handler) for topic, handler in handlers.items()]
    settings: dict[str, Any] = {
        "publish": producer.publish,
        "registry": CollectorRegistry(),
        "policy": QUICK,
        "session": SESSION,
    }
    return EventConsumer(bootstrap, group, routes, **settings | options)


async def send_numbers(
    producer: EventProducer, topic: str, numbers: Collection[int], keys: int = 30
) -> None:
    """Send numbered events in order per key; the key is the number modulo `keys`."""

    async def lane(of_key: list[int]) -> None:
        for number in of_key:
            key = f"key-{number % keys}"
            await producer.send(topic, key, Happened(number=number).to_bytes(), {})

    lanes = [[n for n in numbers if n % keys == remainder] for remainder in range(keys)]
    await asyncio.gather(*(lane(of_key) for of_key in lanes if of_key))


async def until(condition: Callable[[], bool], timeout: float = 30.0, what: str = "") -> None:
    """Poll until the condition holds; fail after the timeout."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        await asyncio.sleep(0.02)


async def read_topic(bootstrap: str, topic: str, at_least: int, timeout: float = 15.0) -> list[Any]:
    """Read all messages of a topic, once it has `at_least` and every partition is at its end."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        found: list[Any] = []
        deadline = time.monotonic() + timeout
        while len(found) < at_least or not await _at_end(consumer, partitions):
            assert time.monotonic() < deadline, f"{len(found)} of {at_least} in {topic}"
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found.extend(records)
        return found
    finally:
        await consumer.stop()


async def _at_end(consumer: Any, partitions: list[TopicPartition]) -> bool:
    for partition in partitions:
        highwater = consumer.highwater(partition)
        if highwater is None or await consumer.position(partition) < highwater:
            return False
    return True


async def delete_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


async def recreate_topic(bootstrap: str, topic: str) -> None:
    """Create a deleted topic again; a real broker may still be deleting it."""
    async with asyncio.timeout(15):
        while True:
            try:
                return await asyncio.to_thread(create_topics, bootstrap, {topic: PARTITIONS})
            except FleetError:
                await asyncio.sleep(0.1)
