"""Published events match the golden sample and the schema in contracts/events/."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from app.events import INVENTORY_LOW, InventoryLow

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts" / "events"


def contract(kind: str) -> dict[str, Any]:
    text = (CONTRACTS / f"{INVENTORY_LOW}.v1.{kind}.json").read_text("utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def validator() -> Draft202012Validator:
    return Draft202012Validator(
        contract("schema"), format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def test_event_class_produces_golden_sample() -> None:
    sample = contract("sample")
    made = json.loads(InventoryLow.model_validate(sample).to_bytes())
    added = made.keys() - sample.keys()  # optional fields that were added after the sample
    assert made == sample | dict.fromkeys(added)
    assert not added & set(contract("schema")["required"])


def test_new_event_is_valid() -> None:
    event = InventoryLow(product_id="p" * 100, product_name="n" * 200, available_qty=0, threshold=1)
    validator().validate(json.loads(event.to_bytes()))


def test_schema_rejects_an_event_without_threshold() -> None:
    """Check the check: a validator that accepts everything proves nothing."""
    event = json.loads(InventoryLow.model_validate(contract("sample")).to_bytes())
    del event["threshold"]
    with pytest.raises(ValidationError):
        validator().validate(event)
