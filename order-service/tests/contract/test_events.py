"""contracts/events: what order-service publishes is what its schemas and golden samples say."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from app.events import order_cancelled, order_placed
from app.models.order import Order, OrderItem, OrderStatus
from chassis.kafka.events import Event

EVENTS = Path(__file__).parents[3] / "contracts" / "events"


def sample(topic: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EVENTS / f"{topic}.v1.sample.json").read_text())
    return document


def validator(topic: str) -> Draft202012Validator:
    schema = json.loads((EVENTS / f"{topic}.v1.schema.json").read_text())
    return Draft202012Validator(schema, format_checker=FormatChecker())


def order_like(golden: dict[str, Any]) -> Order:
    """The order that the golden sample tells of."""
    items = tuple(
        OrderItem(
            id=uuid4(),
            product_id=item["product_id"],
            product_name=item["product_name"],
            quantity=item["quantity"],
            unit_price=Decimal(str(item["price"])),
            total_price=item["quantity"] * Decimal(str(item["price"])),
        )
        for item in golden["items"]
    )
    moment = datetime.fromisoformat(golden["timestamp"])
    return Order(
        id=UUID(golden["order_id"]),
        order_number=golden["order_number"],
        customer_name=golden["customer_name"],
        customer_email=golden["customer_email"],
        total_amount=Decimal(str(golden["total_amount"])),
        items=items,
        status=OrderStatus.CONFIRMED,
        created_at=moment,
        updated_at=moment,
        cancel_reason=golden.get("reason"),
    )


@pytest.mark.parametrize(
    ("topic", "make"), [("order-placed", order_placed), ("order-cancelled", order_cancelled)]
)
def test_promise_21_the_producers_own_event_class_makes_the_golden_sample(
    topic: str, make: Callable[[Order], Event]
) -> None:
    """Promise 21, the producer's side: field for field, money as numbers."""
    golden = sample(topic)
    event = make(order_like(golden)).model_copy(
        update={
            "event_id": UUID(golden["event_id"]),
            "timestamp": datetime.fromisoformat(golden["timestamp"]),
        }
    )
    assert json.loads(event.to_bytes()) == golden
    validator(topic).validate(golden)


def test_the_schema_would_notice_a_field_that_went_missing() -> None:
    for name in sample("order-placed"):
        broken = {k: v for k, v in sample("order-placed").items() if k != name}
        assert not validator("order-placed").is_valid(broken), name
