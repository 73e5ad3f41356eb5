"""Events from the low-stock crossing to the topic, through outbox, relay and a real broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer

from chassis.postgres.engine import driver_url
from fleet.processes.runner import Runner
from fleet.servers.kafka import KafkaServer
from tests.conftest import SettingsFactory
from tests.contract.test_events import validator
from tests.integration.conftest import alembic, another_database, client_of, running
from tests.stock import Shop, new_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
async def own_database(database_url: str) -> AsyncIterator[str]:
    """Create a database for this module: only one relay per database is active, and in the shared
    database it belongs to an app without a broker."""
    async with another_database(database_url) as url:
        await asyncio.to_thread(alembic, url, "upgrade", "head")
        yield url


@pytest.fixture(scope="module")
async def connected(
    make_settings: SettingsFactory, own_database: str, kafka_bootstrap: str
) -> AsyncIterator[Shop]:
    settings = make_settings(database_url=own_database, kafka_bootstrap_servers=kafka_bootstrap)
    async with (
        asyncpg.create_pool(driver_url(own_database), min_size=0) as pool,
        running(settings) as app,
        client_of(app) as client,
    ):
        yield Shop(client, pool)


@asynccontextmanager
async def listening(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        "inventory-low", bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def messages_about(consumer: AIOKafkaConsumer, products: set[str], count: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            message = await consumer.getone()
            if message.key.decode() in products:
                found.append(message)
    return found


async def test_crossing_reaches_the_topic_in_the_form_of_the_contract(
    connected: Shop, kafka_bootstrap: str
) -> None:
    """Check key, value and headers of the message against contracts/."""
    product = await connected.stock(20, new_id("ключ"))
    async with listening(kafka_bootstrap) as consumer:
        connected.client.headers["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
        await connected.move("reduce", product, 15)
        [message] = await messages_about(consumer, {product}, 1)
    event = json.loads(message.value)
    validator().validate(event)
    assert (event["product_id"], event["available_qty"]) == (product, 5)
    assert TRACE in dict(message.headers)["traceparent"].decode()


async def test_each_crossing_is_one_message_in_order(connected: Shop, kafka_bootstrap: str) -> None:
    """Two products fall five times each, concurrently: ten messages, in order per product."""
    products = [await connected.stock(20) for _ in range(2)]

    async def fall_and_rise(product: str) -> None:
        for taken in (11, 12, 13, 14, 15):
            await connected.move("reduce", product, taken)
            await connected.move("restock", product, taken)

    async with listening(kafka_bootstrap) as consumer:
        await asyncio.gather(*(fall_and_rise(product) for product in products))
        messages = await messages_about(consumer, set(products), 10)
    for product in products:
        left = [
            json.loads(message.value)["available_qty"]
            for message in messages
            if message.key.decode() == product
        ]
        assert left == [9, 8, 7, 6, 5]
    assert len({json.loads(message.value)["event_id"] for message in messages}) == 10


async def test_paused_broker_delays_only_events(
    connected: Shop, kafka_server: Runner[KafkaServer], kafka_bootstrap: str
) -> None:
    """Promises 16 and 17 here: calls succeed, and every committed event arrives."""
    product = await connected.stock(20)
    async with listening(kafka_bootstrap) as consumer:
        kafka_server.pause()
        try:
            async with asyncio.timeout(5):
                assert (await connected.move("reduce", product, 15)).status_code == 200
            ready = await connected.client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (200, "DEGRADED")
        finally:
            kafka_server.resume()
        await messages_about(consumer, {product}, 1)
