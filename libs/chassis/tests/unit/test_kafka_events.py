"""The event envelope: fields of producers and checks of consumers."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Literal
from uuid import UUID

import pytest
from pydantic import ValidationError

from chassis.field_types import Money
from chassis.kafka.events import Envelope, Event


class ThingSold(Event):
    event_type: Literal["THING_SOLD"] = "THING_SOLD"
    price: Money


class ThingSoldAsRead(Envelope):
    event_type: Literal["THING_SOLD"]
    price: Money


def test_event_is_json_with_utc_time_and_money_as_a_number() -> None:
    east = timezone(timedelta(hours=2))
    event = ThingSold(
        event_id=UUID(int=7),
        timestamp=datetime(2026, 11, 23, 11, 30, tzinfo=east),
        price=Decimal("0.10"),
    )
    assert json.loads(event.to_bytes()) == {
        "event_id": "00000000-0000-0000-0000-000000000007",
        "event_type": "THING_SOLD",
        "event_version": 1,
        "timestamp": "2026-11-23T09:30:00Z",
        "price": 0.1,
    }


def test_each_event_has_an_id_and_a_time_of_its_own() -> None:
    first, second = ThingSold(price=Decimal(1)), ThingSold(price=Decimal(1))
    assert first.event_id != second.event_id
    assert first.timestamp.tzinfo is UTC


@pytest.mark.parametrize("cents", [1, 10, 29, 57, 999_999_999_999])
def test_money_survives_a_json_round_trip_to_the_cent(cents: int) -> None:
    """Promise 55: JSON numbers carry any amount up to the maximum exactly."""
    price = Decimal(cents) / 100
    read = ThingSoldAsRead.model_validate_json(ThingSold(price=price).to_bytes())
    assert read.price == price


def test_consumer_ignores_unknown_fields() -> None:
    """Promise 21: adding an optional field does not break consumers."""
    value = json.loads(ThingSold(price=Decimal(1)).to_bytes()) | {"new": {"deep": [1]}}
    assert ThingSoldAsRead.model_validate_json(json.dumps(value)).price == 1


@pytest.mark.parametrize("field", ["event_id", "event_type", "event_version", "timestamp", "price"])
def test_consumer_requires_the_whole_envelope(field: str) -> None:
    """Promise 21: without an id duplicates are undetectable; a consumer adds no defaults."""
    value = json.loads(ThingSold(price=Decimal(1)).to_bytes())
    del value[field]
    with pytest.raises(ValidationError):
        ThingSoldAsRead.model_validate_json(json.dumps(value))


def test_event_of_another_version_is_refused() -> None:
    value = json.loads(ThingSold(price=Decimal(1)).to_bytes()) | {"event_version": 2}
    with pytest.raises(ValidationError):
        ThingSoldAsRead.model_validate_json(json.dumps(value))


def test_producer_refuses_an_unknown_field() -> None:
    with pytest.raises(ValidationError):
        ThingSold(price=Decimal(1), prise=2)  # type: ignore[call-arg]
