"""The golden samples of contracts/events, and variants of them."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts" / "events"
TOPICS = ("order-placed", "order-cancelled", "inventory-low", "ai-notification-ready")


def sample(topic: str, **changes: Any) -> dict[str, Any]:
    """The golden sample of a topic, with changes; a change to None removes nothing."""
    golden: dict[str, Any] = json.loads((CONTRACTS / f"{topic}.v1.sample.json").read_text())
    return golden | changes


def fresh(topic: str, **changes: Any) -> dict[str, Any]:
    """Return a sample with a unique id."""
    return sample(topic, event_id=str(uuid4()), **changes)


def schema(topic: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONTRACTS / f"{topic}.v1.schema.json").read_text())
    return found


def encoded(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()
