"""What this service publishes is what contracts/events/ says, golden sample and schema."""

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


def test_the_golden_sample_is_what_the_event_class_makes() -> None:
    sample = contract("sample")
    made = json.loads(InventoryLow.model_validate(sample).to_bytes())
    added = made.keys() - sample.keys()  # optional fields that are younger than the sample
    assert made == sample | dict.fromkeys(added)
    assert not added & set(contract("schema")["required"])


def test_an_event_of_this_moment_is_valid() -> None:
    event = InventoryLow(product_id="p" * 100, product_name="n" * 200, available_qty=0, threshold=1)
    validator().validate(json.loads(event.to_bytes()))


def test_the_schema_would_notice() -> None:
    """The test of the test: a validator that lets everything pass shows nothing."""
    event = json.loads(InventoryLow.model_validate(contract("sample")).to_bytes())
    del event["threshold"]
    with pytest.raises(ValidationError):
        validator().validate(event)
