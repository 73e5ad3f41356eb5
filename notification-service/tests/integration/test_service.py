"""The whole service as a process, on a real broker and a real mail server."""

import asyncio
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from tests.samples import TOPICS, fresh

from fleet.clients.mailbox import Mailbox
from tests.conftest import Post, Replica, Wire, log_lines, until

Replicas = Callable[..., Replica]


def events(count: int) -> list[tuple[str, dict[str, Any]]]:
    """Make events of all topics, each with its own key."""
    made = []
    for number in range(count):
        topic = TOPICS[number % len(TOPICS)]
        key = "product_id" if topic == "inventory-low" else "order_id"
        form = f"7c9e6679-7425-40de-944b-{number:012d}"
        made.append((topic, fresh(topic, **{key: form})))
    return made


async def test_each_event_is_mailed_once_and_no_personal_data_is_logged(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox
) -> None:
    """Promises 25 and 57: a message that is not JSON becomes a dead letter, the next is mailed."""
    replica = replicas()
    replica.start()
    canary = "canary-7193@example.com"
    order = fresh("order-placed", customer_email=canary, customer_name="Canary Xylophone")
    await wire.publish("order-placed", order)
    await wire.publish_raw(
        "order-placed", order["order_id"], b"this is not JSON: " + canary.encode()
    )
    behind = fresh("order-placed", order_id=order["order_id"])
    others = [fresh(topic) for topic in TOPICS[1:]]
    await wire.publish("order-placed", behind)
    for topic, event in zip(TOPICS[1:], others, strict=True):
        await wire.publish(topic, event)

    counts = await post.complete([order, behind, *others])
    assert set(counts.values()) == {1}
    mail = mailbox.wait_for(lambda message: message["To"][0]["Address"] == canary)
    assert mail["Subject"] == "Your order ORD-20261123-7C9E6679 is confirmed"
    headers = mailbox.headers(mail["ID"])
    assert headers["X-Event-Id"] == [order["event_id"]]
    assert headers["X-Event-Type"] == ["ORDER_PLACED"]
    assert "Canary Xylophone" in mail["HTML"]
    assert "Canary Xylophone" in mail["Text"]
    outcomes = "kafka_consumer_messages_total"
    assert replica.metric(outcomes, topic="order-placed", outcome="dead_lettered") == 1
    await until(lambda: replica.metric("kafka_consumer_lag") == 0, what="lag 0")
    assert await replica.stop() == -signal.SIGTERM, "uvicorn ends by its signal, after its shutdown"
    log = replica.log.read_text()
    assert "mail sent" in log
    assert "dead letter written" in log
    assert "canary" not in log.lower()
    assert all(line["service"] == "notification-service" for line in log_lines(replica))


async def test_repeats_restarts_and_rebalances_send_one_mail_per_event(
    replicas: Replicas, wire: Wire, post: Post
) -> None:
    """Promise 24: each event delivered 1 to 5 times, two replicas, a restart: one mail each."""
    batch = events(80)
    deliveries = [pair for pair in batch for _ in range(random.randint(1, 5))]
    random.shuffle(deliveries)
    thirds = [deliveries[number::3] for number in range(3)]
    first, second = replicas(), replicas()
    first.start()
    await first.ready()

    async def publish(pairs: list[tuple[str, dict[str, Any]]]) -> None:
        for topic, event in pairs:
            await wire.publish(topic, event)
            await asyncio.sleep(0.02)

    publishing = asyncio.create_task(publish(thirds[0]))
    second.start()
    await publishing
    await second.ready()
    publishing = asyncio.create_task(publish(thirds[1]))
    await first.stop()
    await publishing
    third = replicas()
    third.start()
    await publish(thirds[2])
    await third.ready()
    # Repeat all events at the end: the present owner of a partition knows the mails of the others.
    await publish(batch)
    await until(
        lambda: second.metric("kafka_consumer_lag") == 0 == third.metric("kafka_consumer_lag")
    )
    counts = await post.complete([event for _, event in batch])
    assert set(counts.values()) == {1}
    assert len(counts) == 80
    assert second.metric("mails_skipped_total") + third.metric("mails_skipped_total") >= 80


async def test_killed_service_sends_the_remaining_mails_after_its_restart(
    replicas: Replicas, wire: Wire, post: Post
) -> None:
    """Promises 23 and 24: kill -9 during the work; none lost, at most one mail duplicated."""
    batch = events(200)
    first = replicas()
    first.start()
    await first.ready()
    for topic, event in batch:
        await wire.publish(topic, event)
    await until(lambda: sum(post.counts().values()) >= 20, what="20 mails")
    await first.stop(signal.SIGKILL)
    assert len(post.counts()) < 200
    again = replicas()
    again.start()
    counts = await post.complete([event for _, event in batch], timeout=60)
    duplicated = sum(counts.values()) - 200
    print(f"mails duplicated by the kill: {duplicated}")
    assert duplicated <= 1


async def test_mails_wait_for_an_unavailable_server_and_are_all_sent(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox
) -> None:
    """Promise 27: no mail server for 20 s; no mail lost, duplicated or dead-lettered."""
    replica = replicas()
    replica.start()
    await replica.ready()
    assert replica.readiness() == (200, {"kafka": "UP", "smtp": "UP"})
    mailbox.stop()
    away = time.monotonic()
    batch = events(60)
    for topic, event in batch:
        await wire.publish(topic, event)
    await until(lambda: replica.readiness() == (200, {"kafka": "UP", "smtp": "DEGRADED"}))
    assert replica.get("/health").status_code == 200
    await asyncio.sleep(20 - (time.monotonic() - away))
    mailbox.start()
    counts = await post.complete([event for _, event in batch])
    assert set(counts.values()) == {1}
    assert replica.metric("kafka_consumer_messages_total", outcome="dead_lettered") == 0
    assert replica.readiness() == (200, {"kafka": "UP", "smtp": "UP"})


async def test_paused_broker_fails_readiness_and_loses_or_duplicates_no_mail(
    replicas: Replicas, wire: Wire, post: Post, kafka_server: Any
) -> None:
    """Promises 59 and 30: readiness fails, a stop is bounded, the service recovers by itself.

    The broker is paused for longer than a stop may take. So the replica that stops may have sent a
    mail that it cannot record. It logs such a mail.
    """
    replica, leaving = replicas(), replicas()
    replica.start()
    leaving.start()
    await replica.ready()
    await leaving.ready()
    batch = events(100)
    for topic, event in batch[:50]:
        await wire.publish(topic, event)
    kafka_server.pause()
    try:
        began = time.monotonic()
        await until(lambda: replica.readiness()[0] == 503, 5, "red within 5 s")
        assert replica.get("/health").status_code == 200
        publishing = asyncio.create_task(publish_all(wire, batch[50:]))
        await leaving.stop()
        assert time.monotonic() - began < 12
        await asyncio.sleep(12 - (time.monotonic() - began))
    finally:
        kafka_server.resume()
    await publishing
    counts = await post.complete([event for _, event in batch])
    await until(lambda: replica.metric("kafka_consumer_lag") == 0, what="lag 0")
    counts = post.counts()
    unrecorded = {
        line["event_id"]
        for line in log_lines(leaving)
        if line["message"] == "mail not recorded before the stop"
    }
    assert len(unrecorded) <= 1, "one mail at a time"
    duplicated = {event_id: count for event_id, count in counts.items() if count > 1}
    assert duplicated.keys() <= unrecorded
    assert all(count == 2 for count in duplicated.values())
    await replica.ready()


async def publish_all(wire: Wire, pairs: list[tuple[str, dict[str, Any]]]) -> None:
    for topic, event in pairs:
        await wire.publish(topic, event)


async def test_service_serves_only_health_metrics_and_docs(replicas: Replicas) -> None:
    """Promise 54, and the limit of memory."""
    replica = replicas(SMTP_HOST="")
    replica.start()
    await replica.ready()
    health = replica.get("/health").json()
    assert health == {"status": "UP", "service": "notification-service"}
    paths = replica.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/health", "/health/ready", "/metrics"}
    assert replica.get("/docs").status_code == 200
    assert "mail_sent_ids" in replica.get("/metrics").text
    missing = replica.get("/api/notifications")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    assert replica.process is not None
    memory = psutil.Process(replica.process.pid).memory_info().rss / 1e6
    print(f"resident memory: {memory:.0f} MB")
    assert memory < 80


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_without_a_broker_takes_at_most_10_s(replicas: Replicas, number: int) -> None:
    """Promise 30."""
    replica = replicas(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    replica.start()
    await until(lambda: replica.readiness()[0] == 503, what="readiness fails")
    began = time.monotonic()
    await replica.stop(number)
    assert time.monotonic() - began < 10
