"""Catalogues and events for tests, based on the project's seed products."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from app.retrieval.index import CatalogueIndex
from app.retrieval.language import Languages
from app.schemas.product import Product

ROOT = Path(__file__).parent.parent.parent
SEED = ROOT / "local" / "fleet" / "tools" / "catalogue.json"
EVENTS = ROOT / "contracts" / "events"


def row(number: int, **changes: Any) -> dict[str, Any]:
    """Return a product as product-service returns it."""
    return {
        "id": f"{number:024x}",
        "name": f"Thing {number}",
        "description": "",
        "price": 10.0,
        "category": "Home",
        "tags": [],
        "image_url": None,
        "stock_quantity": 5,
        "created_at": "2026-11-23T09:30:00.125Z",
        "updated_at": "2026-11-23T09:30:00.125Z",
        **changes,
    }


def seed_rows() -> list[dict[str, Any]]:
    return [row(n, **product) for n, product in enumerate(json.loads(SEED.read_text()), 1)]


def many_rows(count: int) -> list[dict[str, Any]]:
    """Return `count` copies of the seed's products with distinct ids and names."""
    seed = seed_rows()
    return [
        {
            **seed[n % len(seed)],
            "id": f"{n + 1:024x}",
            "name": f"{seed[n % len(seed)]['name']} No {n}",
        }
        for n in range(count)
    ]


def index_of(rows: list[dict[str, Any]], languages: Languages) -> CatalogueIndex:
    return CatalogueIndex([Product.model_validate(each) for each in rows], languages)


def sample(topic: str, **changes: Any) -> dict[str, Any]:
    """Return the golden sample of a topic, with changes."""
    golden: dict[str, Any] = json.loads((EVENTS / f"{topic}.v1.sample.json").read_text())
    return golden | changes


def schema(topic: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{topic}.v1.schema.json").read_text())
    return found


def order(*products: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a new order-placed event with one piece of each product."""
    items = [
        {"product_id": p["id"], "product_name": p["name"], "quantity": 1, "price": p["price"]}
        for p in products
    ]
    fresh = {"event_id": str(uuid4()), "order_id": str(uuid4()), "timestamp": _now()}
    return sample("order-placed", **fresh | ({"items": items} if items else {}) | changes)


def _now() -> str:
    return datetime.now(UTC).isoformat()
