"""Published events match the golden samples and the schemas in contracts/events/."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from sqlalchemy import inspect

from app.events import order_cancelled, order_placed
from app.models.order import Order, OrderItem, OrderStatus
from chassis.kafka.events import Event

EVENTS = Path(__file__).parents[3] / "contracts" / "events"


def sample(topic: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EVENTS / f"{topic}.v1.sample.json").read_text())
    return document


def schema(topic: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EVENTS / f"{topic}.v1.schema.json").read_text())
    return document


def validator(topic: str) -> Draft202012Validator:
    return Draft202012Validator(schema(topic), format_checker=FormatChecker())


def order_like(golden: dict[str, Any]) -> Order:
    """Build the order of a golden sample; an optional field that it lacks is None."""
    items = [
        OrderItem(
            id=uuid4(),
            product_id=item["product_id"],
            product_name=item["product_name"],
            quantity=item["quantity"],
            unit_price=Decimal(str(item["price"])),
            total_price=item["quantity"] * Decimal(str(item["price"])),
        )
        for item in golden["items"]
    ]
    moment = datetime.fromisoformat(golden["timestamp"])
    facts: dict[str, Any] = {
        column.key: golden[column.key] for column in inspect(Order).columns if column.key in golden
    } | {
        "id": UUID(golden["order_id"]),
        "total_amount": Decimal(str(golden["total_amount"])),
        "items": items,
    }
    return Order(
        **facts,
        status=OrderStatus.CONFIRMED,
        created_at=moment,
        updated_at=moment,
        cancel_reason=golden.get("reason"),
    )


@pytest.mark.parametrize(
    ("topic", "make"), [("order-placed", order_placed), ("order-cancelled", order_cancelled)]
)
def test_promise_21_producer_event_class_produces_golden_sample(
    topic: str, make: Callable[[Order], Event]
) -> None:
    """Promise 21 at the producer: equal fields, money as numbers.

    An optional field that was added after the sample is null, and the sample stays valid.
    """
    golden = sample(topic)
    event = make(order_like(golden)).model_copy(
        update={
            "event_id": UUID(golden["event_id"]),
            "timestamp": datetime.fromisoformat(golden["timestamp"]),
        }
    )
    made = json.loads(event.to_bytes())
    added = made.keys() - golden.keys()
    assert made == golden | dict.fromkeys(added)
    assert not added & set(schema(topic)["required"])
    for document in (golden, made):
        validator(topic).validate(document)


@pytest.mark.parametrize("topic", ["order-placed", "order-cancelled"])
def test_schema_rejects_each_missing_required_field(topic: str) -> None:
    required = schema(topic)["required"]
    assert {"event_id", "event_type", "order_id", "items"} <= set(required)
    for name in required:
        broken = {k: v for k, v in sample(topic).items() if k != name}
        assert not validator(topic).is_valid(broken), name
