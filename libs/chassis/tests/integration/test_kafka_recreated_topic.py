"""A topic that is deleted and created again while its consumer and its producer run."""

import asyncio

import pytest
from kafka_support import (
    HappenedAsRead,
    delete_topic,
    fresh_topics,
    new_consumer,
    new_producer,
    recreate_topic,
    send_numbers,
    until,
)

from chassis.kafka.errors import BrokerUnavailable
from chassis.kafka.producer import EventProducer


async def send_until_acknowledged(producer: EventProducer, topic: str, number: int) -> None:
    """Retry like the outbox relay."""
    while True:
        try:
            return await send_numbers(producer, topic, [number])
        except BrokerUnavailable:
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("gone_for", [0, 12])
async def test_recreated_topic_is_consumed_within_30_s(kafka_bootstrap: str, gone_for: int) -> None:
    """Promise 67. The longer pause exceeds `METADATA_MAX_AGE_MS`: the consumer drops the topic."""
    (topic,) = fresh_topics(kafka_bootstrap, "recreated")
    handled: list[int] = []

    async def handle(event: HappenedAsRead) -> None:
        handled.append(event.number)

    producer = new_producer(kafka_bootstrap)
    await producer.start()
    consumer = new_consumer(kafka_bootstrap, topic, {topic: handle}, producer)
    consumer.start()
    await asyncio.gather(*(send_until_acknowledged(producer, topic, n) for n in range(60)))
    await until(lambda: len(handled) == 60)

    await delete_topic(kafka_bootstrap, topic)
    await asyncio.sleep(gone_for)
    await recreate_topic(kafka_bootstrap, topic)
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(send_until_acknowledged(producer, topic, number) for number in range(100, 110))
        )
        await until(lambda: set(range(100, 110)) <= set(handled), what="handled again")
    await consumer.probe()
    await consumer.stop()
    await producer.stop()
