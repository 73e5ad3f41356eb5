"""Promise 21: the consumed and the produced event match their contracts."""

import json
from typing import Any

import jsonschema
import pytest

from app.events import AiNotificationReady, OrderPlaced
from app.retrieval.language import Languages
from chassis.kafka.dead_letters import Unreadable
from chassis.kafka.message_processor import read
from tests.samples import order, row, sample, schema, seed_rows
from tests.unit.test_follow_up import Scene


def encoded(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


@pytest.mark.parametrize("changes", [{}, {"new_field": {"deep": [1, None]}}])
def test_golden_order_is_parsed_and_unknown_fields_are_ignored(changes: dict[str, Any]) -> None:
    event = read(OrderPlaced, encoded(sample("order-placed", **changes)))
    assert [item.product_name for item in event.items] == ["Wireless Headphones", "Desk Lamp"]


NEEDED = [name for name in schema("order-placed")["required"] if name != "total_amount"]


@pytest.mark.parametrize("field", NEEDED)
def test_event_with_missing_field_is_unreadable(field: str) -> None:
    event = sample("order-placed")
    del event[field]
    with pytest.raises(Unreadable, match=f"{field}: missing"):
        read(OrderPlaced, encoded(event))


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"\xff", b'{"price": NaN}', b'"\\ud800"'])
def test_invalid_event_is_unreadable(value: bytes) -> None:
    with pytest.raises(Unreadable):
        read(OrderPlaced, value)


def test_promise_21_event_class_produces_golden_sample() -> None:
    golden = sample("ai-notification-ready")
    made = json.loads(AiNotificationReady.model_validate(golden).to_bytes())
    added = made.keys() - golden.keys()  # optional fields that are newer than the sample
    assert made == golden | dict.fromkeys(added)
    assert not added & set(schema("ai-notification-ready")["required"])


async def test_follow_up_event_matches_schema(languages: Languages) -> None:
    scene = Scene(languages, seed_rows())
    longest = {
        "customer_name": "x" * 200,
        "order_number": "x" * 40,
        "customer_email": "x" * 242 + "@example.com",
    }
    for event in (order(), order(*seed_rows()[:20]), order(row(1, name="x" * 200), **longest)):
        await scene.consume(event)
        made = scene.sent.records[-1][2]
        jsonschema.validate(made, schema("ai-notification-ready"))
        for name in ("order_id", "order_number", "customer_name", "customer_email"):
            assert made[name] == event[name]
