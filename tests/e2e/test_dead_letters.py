"""Dead letters are replayed to the consumer group that wrote them, without duplicate effects."""

import json
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from fleet.clients.topic_reader import Record, topic_reader
from tests.e2e.test_one_trace import SCRAPE
from tests.fleet_under_test import ROOT, Fleet, Shop, load, new_email, until

GROUP, OTHERS = "notification-service", "ai-service"
TOPIC = "order-placed"
_COUNTER = re.compile(
    rf'kafka_consumer_messages_total{{outcome="(\w+)",topic="{TOPIC}"}} (\d+)', re.ASCII
)

Sent = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Key, value and headers of a record."""


async def outcomes(shop: Shop, service: str) -> Counter[str]:
    """Return the outcomes of a service's messages of `order-placed` since its start."""
    answer = await shop.http.get(f"{shop.fleet.url(service)}/metrics", headers=SCRAPE)
    assert answer.status_code == 200, answer.text
    return Counter({outcome: int(count) for outcome, count in _COUNTER.findall(answer.text)})


async def outcomes_of_both(shop: Shop) -> tuple[Counter[str], Counter[str]]:
    return await outcomes(shop, GROUP), await outcomes(shop, OTHERS)


async def wait_for_outcomes(
    shop: Shop,
    before: tuple[Counter[str], Counter[str]],
    by_group: Counter[str],
    by_others: Counter[str],
) -> None:
    """Wait until the two groups have exactly these outcomes more than in `before`."""
    found = before

    async def seen() -> bool:
        nonlocal found
        found = await outcomes_of_both(shop)
        return (found[0] - before[0], found[1] - before[1]) == (by_group, by_others)

    try:
        await until(seen, 60, f"outcomes {dict(by_group)} and {dict(by_others)}")
    except AssertionError as error:
        raise AssertionError(f"{error}; from {before} to {found}") from None


async def records_of(fleet: Fleet, topic: str) -> list[Record]:
    """Return all records of a topic."""
    async with topic_reader(fleet.kafka) as reader:
        topics = await reader.topics()
        spans = await reader.spans({topic: topics[topic]})
        return [record async for record in reader.records(spans)]


async def send(fleet: Fleet, topic: str, records: Sequence[Sent]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=fleet.kafka, acks="all")
    await producer.start()
    try:
        for key, value, headers in records:
            await producer.send_and_wait(topic, value, key, headers=headers)
    finally:
        await producer.stop()


def new_event(email: str) -> dict[str, Any]:
    """Return a valid event that was not processed yet."""
    order = str(uuid4())
    sample: dict[str, Any] = load(ROOT / "contracts/events/order-placed.v1.sample.json")
    return sample | {
        "event_id": str(uuid4()),
        "timestamp": datetime.now(UTC).isoformat(),
        "order_id": order,
        "order_number": f"ORD-{order[:8].upper()}",
        "customer_email": email,
    }


def buried(event: dict[str, Any], cause: str) -> Sent:
    """Return the dead letter that notification-service writes for this event and cause."""
    reasons = {
        "x-original-topic": TOPIC,
        "x-original-partition": "0",
        "x-original-offset": "0",
        "x-consumer-group": GROUP,
        "x-error-class": cause,
        "x-error": "",
        "x-attempts": "5",
        "x-first-failure-at": event["timestamp"],
    }
    headers = [(name, text.encode()) for name, text in reasons.items()]
    return event["order_id"].encode(), json.dumps(event).encode(), headers


async def assert_one_mail_each(shop: Shop, events: Sequence[dict[str, Any]]) -> None:
    for event in events:
        subjects = Counter(await shop.mails_of(event["customer_email"]))
        assert subjects[f"Your order {event['order_number']} is confirmed"] == 1, subjects


async def test_promise_28_dead_letters_are_replayed_once_to_their_group(
    fleet: Fleet, shop: Shop
) -> None:
    """Five events that were never handled, and three that were mailed before they failed."""
    product, email, cause = await shop.stock(10), new_email("mailed"), f"Away{secrets.token_hex(4)}"
    before = await outcomes_of_both(shop)
    orders = [(await shop.place((product, 1), email=email)).json() for _ in range(3)]
    await shop.confirmed_by_mail(orders, seconds=60)
    await wait_for_outcomes(shop, before, Counter(processed=3), Counter(processed=3))
    ids = {order["id"] for order in orders}
    placed = [json.loads(one.value) for one in await records_of(fleet, TOPIC) if _has_id(one, ids)]
    fresh = [new_event(new_email(f"fresh-{number}")) for number in range(5)]
    events = [*placed, *fresh]
    assert len(events) == 8
    await send(fleet, f"{TOPIC}.dlq", [buried(event, cause) for event in events])

    before = await outcomes_of_both(shop)
    printed = await fleet.run("dlq", "replay", TOPIC, "--error", cause, "--yes")
    assert "Replayed 8." in printed
    await wait_for_outcomes(shop, before, Counter(processed=8), Counter(skipped_replay=8))
    await assert_one_mail_each(shop, events)

    again = await fleet.run("dlq", "replay", TOPIC, "--error", cause, "--yes")
    assert "left out: 8, replayed already" in again

    # As if the command had crashed before it recorded what it sent.
    everything = await records_of(fleet, TOPIC)
    dead_letter_counts = {event["order_id"] for event in events}
    replayed = [one for one in everything if _has_id(one, dead_letter_counts) and _is_replay(one)]
    assert len(replayed) == 8
    await send(fleet, TOPIC, [(one.key, one.value, list(one.headers)) for one in replayed])
    await wait_for_outcomes(shop, before, Counter(processed=16), Counter(skipped_replay=16))
    await assert_one_mail_each(shop, events)
    follow_ups = await records_of(fleet, "ai-notification-ready")
    assert not [one for one in follow_ups if _has_id(one, {event["order_id"] for event in fresh})]


async def test_replayed_dead_letter_that_fails_again_is_dead_lettered_again(
    fleet: Fleet, shop: Shop
) -> None:
    poison = f"not json {secrets.token_hex(8)}".encode()
    await shop.publish_raw(TOPIC, poison)

    async def dead_letter_counts() -> Counter[str]:
        found = [one for one in await records_of(fleet, f"{TOPIC}.dlq") if one.value == poison]
        return Counter(dict(one.headers)["x-consumer-group"].decode() for one in found)

    async def buried_by_both() -> bool:
        return await dead_letter_counts() == Counter({GROUP: 1, OTHERS: 1})

    await until(buried_by_both, 60, "both groups have dead-lettered it")
    mine = next(
        one
        for one in await records_of(fleet, f"{TOPIC}.dlq")
        if one.value == poison and dict(one.headers)["x-consumer-group"] == GROUP.encode()
    )
    place = f"{mine.partition}:{mine.offset}"
    shown = await fleet.run("dlq", "show", TOPIC, place)
    assert "error    Unreadable value: json_invalid" in shown
    skipped = (await outcomes(shop, OTHERS))["skipped_replay"]
    await fleet.run("dlq", "replay", TOPIC, place, "--yes")

    async def seen_again() -> bool:
        passed = (await outcomes(shop, OTHERS))["skipped_replay"]
        return (await dead_letter_counts())[GROUP] == 2 and passed == skipped + 1

    await until(seen_again, 60, "its group has dead-lettered it again, the other skipped it")
    assert (await dead_letter_counts())[OTHERS] == 1
    assert "state    replayed" in await fleet.run("dlq", "show", TOPIC, place)


def _has_id(record: Record, ids: set[str]) -> bool:
    return record.key is not None and record.key.decode("utf-8", "replace") in ids


def _is_replay(record: Record) -> bool:
    return any(name == "x-replay-group" for name, _ in record.headers)
