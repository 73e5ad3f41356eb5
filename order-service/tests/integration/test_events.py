"""Events from the 201 to the topic, with a real broker that may be unavailable."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer

from app.config import Settings
from app.main import create_app
from fleet.processes.runner import Runner
from fleet.servers.kafka import KafkaServer
from tests.conftest import order_of, running
from tests.contract.test_events import validator
from tests.fakes import FakeInventory

TOPICS = ("order-placed", "order-cancelled")


@pytest.fixture
def with_broker(settings: Settings, kafka_bootstrap: str) -> Settings:
    update = {"kafka_bootstrap_servers": kafka_bootstrap, "kafka_enable_idempotence": False}
    return settings.model_copy(update=update)


@asynccontextmanager
async def reading(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        *TOPICS, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_orders(consumer: AIOKafkaConsumer, topic: str, ids: set[str]) -> list[Any]:
    """Read until every one of these orders has been seen on the topic."""
    found: list[Any] = []
    missing = set(ids)
    async with asyncio.timeout(30):
        while missing:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.topic == topic and record.key.decode() in ids:
                        found.append(record)
                        missing.discard(record.key.decode())
    return found


async def place(client: httpx2.AsyncClient) -> str:
    response = await client.post("/api/orders", json=order_of(("p", 1)))
    assert response.status_code == 201, response.text
    order_id: str = response.json()["id"]
    return order_id


async def test_promise_16_every_201_is_on_the_topic_keyed_by_order_with_its_trace(
    with_broker: Settings, sql: Any, kafka_bootstrap: str
) -> None:
    """Promise 16 without faults: 50 concurrent orders publish one valid event each."""
    async with running(create_app(with_broker)) as client, reading(kafka_bootstrap) as consumer:
        ids = set(await asyncio.gather(*(place(client) for _ in range(50))))
        records = await read_orders(consumer, "order-placed", ids)
    assert sorted(record.key.decode() for record in records) == sorted(ids)
    for record in records:
        value = json.loads(record.value)
        validator("order-placed").validate(value)
        assert value["order_id"] == record.key.decode()
        assert dict(record.headers)["traceparent"]


async def test_cancelled_order_is_published_with_its_reason(
    with_broker: Settings, sql: Any, kafka_bootstrap: str
) -> None:
    async with running(create_app(with_broker)) as client, reading(kafka_bootstrap) as consumer:
        order_id = await place(client)
        await client.patch(f"/api/orders/{order_id}/cancel", json={"reason": "Too late"})
        (record,) = await read_orders(consumer, "order-cancelled", {order_id})
    value = json.loads(record.value)
    validator("order-cancelled").validate(value)
    assert value["reason"] == "Too late"


async def test_promise_17_paused_broker_fails_no_order(
    with_broker: Settings,
    inventory: FakeInventory,
    sql: Any,
    kafka_server: Runner[KafkaServer],
    kafka_bootstrap: str,
) -> None:
    """Promise 17: the service also starts while the broker is paused, and publishes later."""
    kafka_server.pause()
    try:
        async with running(create_app(with_broker)) as client:
            ids = {await place(client) for _ in range(30)}
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (200, "DEGRADED")
            kafka_server.resume()
            async with reading(kafka_bootstrap) as consumer:
                await read_orders(consumer, "order-placed", ids)
    finally:
        kafka_server.resume()
