"""Follow-ups and co-purchase counts with a real broker."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid5

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer
from prometheus_client import CollectorRegistry

from chassis.kafka.producer import EventProducer
from tests.conftest import running, settings_for
from tests.fakes import FakeCatalogue, FakeGroq, Script
from tests.samples import order, seed_rows

REAL_BROKER = "TEST_KAFKA_BOOTSTRAP_SERVERS" in os.environ
"""Address of an external broker; the embedded one has no idempotent producer."""


async def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.05)


class Ready:
    """Collect the records of ai-notification-ready and the dead letters of order-placed."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def for_order(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the follow-ups of an order."""
        mine = [r for r in self.records if r.key == event["order_id"].encode()]
        return [json.loads(r.value) for r in mine if r.topic == "ai-notification-ready"]

    def dead(self, value: bytes) -> int:
        return sum(r.topic == "order-placed.dlq" and r.value == value for r in self.records)


@pytest.fixture
async def ready(kafka_bootstrap: str) -> AsyncIterator[Ready]:
    consumer = AIOKafkaConsumer(
        "ai-notification-ready", "order-placed.dlq", bootstrap_servers=kafka_bootstrap
    )
    await consumer.start()
    seen = Ready()

    async def follow() -> None:
        async for record in consumer:
            seen.records.append(record)

    task = asyncio.create_task(follow())
    yield seen
    task.cancel()
    await asyncio.wait({task})
    await consumer.stop()


@pytest.fixture
async def wire(kafka_bootstrap: str) -> AsyncIterator[EventProducer]:
    producer = EventProducer(
        kafka_bootstrap, "test", idempotence=False, registry=CollectorRegistry()
    )
    await producer.start()
    yield producer
    await producer.stop()


async def publish(wire: EventProducer, event: dict[str, Any]) -> None:
    value = json.dumps(event).encode()
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    await wire.send("order-placed", event["order_id"], value, trace)


def kafka(bootstrap: str, **more: Any) -> dict[str, Any]:
    return {
        "kafka_bootstrap_servers": bootstrap,
        "kafka_enable_idempotence": REAL_BROKER,
        "kafka_session_seconds": 6,
        **more,
    }


def named(name: str) -> dict[str, Any]:
    return next(each for each in seed_rows() if each["name"] == name)


async def recommended(client: httpx2.AsyncClient, name: str) -> list[str]:
    parameters: dict[str, str | int] = {"product_name": name, "limit": 3}
    answer = await client.get("/api/ai/recommendations", params=parameters)
    return [product["name"] for product in answer.json()["recommendations"]]


async def test_each_order_gets_a_follow_up_and_counts_as_co_purchase(
    kafka_bootstrap: str,
    products: FakeCatalogue,
    ready: Ready,
    wire: EventProducer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Redelivery keeps the event id, invalid messages are dead-lettered, no data is logged."""
    lamp, socks = named("Desk Lamp Halo"), named("Merino Hiking Socks")
    canary = {"customer_name": "Canary Xylophone", "customer_email": "canary-7193@example.com"}
    orders = [order(lamp, socks, **canary) for _ in range(8)]
    settings = settings_for(products, **kafka(kafka_bootstrap, log_level="DEBUG"))
    async with running(settings) as client:
        for event in orders:
            await publish(wire, event)
        garbage = b"not an order of canary-7193@example.com"
        await wire.send("order-placed", orders[0]["order_id"], garbage, {})
        await publish(wire, orders[0])  # a repeat, later in the same partition
        await until(lambda: all(ready.for_order(event) for event in orders), "every follow-up")
        await until(lambda: len(ready.for_order(orders[0])) == 2, "the repeat's follow-up")
        await until(lambda: ready.dead(garbage) == 1, "the dead letter")
        assert "Merino Hiking Socks" in await recommended(client, "Desk Lamp Halo")
        table = (await client.get("/health/ready")).json()["dependencies"]
        assert table["kafka"]["status"] == "UP"
    for event in orders:
        expected = str(uuid5(UUID(event["event_id"]), "ai-notification-ready"))
        assert {follow_up["event_id"] for follow_up in ready.for_order(event)} == {expected}
        follow_up = ready.for_order(event)[0]
        assert follow_up["customer_email"] == canary["customer_email"]
        assert "Dear Canary," in follow_up["body_html"]
        assert "<b>Desk Lamp Halo</b>" in follow_up["body_html"]
    sent = [record for record in ready.records if record.topic == "ai-notification-ready"]
    traces = [dict(record.headers).get("traceparent", b"") for record in sent]
    assert all(b"0af7651916cd43dd8448eb211c80319c" in trace for trace in traces)
    assert "canary" not in capsys.readouterr().out.lower()
    async with running(settings) as again:  # a restart rebuilds the counts from the topic
        deadline = time.monotonic() + 20
        while "Merino Hiking Socks" not in await recommended(again, "Desk Lamp Halo"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("mode", ["answer", "error", "hang", "garbage", "invented"])
async def test_promise_29_follow_up_is_sent_in_time_in_every_model_state(
    kafka_bootstrap: str,
    products: FakeCatalogue,
    groq: FakeGroq,
    ready: Ready,
    wire: EventProducer,
    mode: str,
) -> None:
    """Promise 29: a hanging model delays the first follow-ups only, until the circuit opens."""
    texts = {
        "answer": "Enjoy your [P1]! Many people take [P2] with it.",
        "invented": "Enjoy your [P1]! The Quantum Toaster for 9.99 goes with it.",
    }
    groq.script = Script(mode="answer" if mode in texts else mode, text=texts.get(mode, ""))
    # Long enough that a busy machine does not turn an answer into a timeout.
    budget = 5.0 if mode in texts else 0.5
    model = {"groq_api_key": "key", "groq_base_url": groq.url, "model_budget_seconds": budget}
    orders = [order(named("Desk Lamp Halo"), customer_name="Alice") for _ in range(20)]
    async with running(settings_for(products, **kafka(kafka_bootstrap, **model))):
        for event in orders:
            await publish(wire, event)
        await until(lambda: all(ready.for_order(event) for event in orders), "every follow-up", 30)
    follow_up = [ready.for_order(event)[0] for event in orders]
    written = "openai/gpt-oss-120b" if mode == "answer" else "offline"
    assert {each["source"] for each in follow_up} == {written}
    for each in follow_up:
        assert each["body_html"].startswith("<p>Dear Alice,</p><p>")
        assert "Desk Lamp Halo" in each["body_html"]
        assert "Quantum" not in each["body_html"]
    assert all("Alice" not in call.prompt for call in groq.calls)
    assert all("alice@" not in call.prompt for call in groq.calls)
