"""Record what the checked-out version stores, sends and answers: `golden/<version>/`.

.venv/bin/python -m tests.upgrade.record 1.2.0

Run it once for each release, from a checkout of its tag. It starts a fleet of its own, takes about
a minute, and refuses to replace an existing version. CONTRIBUTING.md describes the next steps.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fleet_under_test import Fleet, Shop, until
from tests.upgrade.stores import (
    CONTRACTS,
    DATABASES,
    EVENT_TOPICS,
    GOLDEN,
    SENT_MAILS,
    database_url,
    dump_database,
    dump_products,
    query,
    read_messages,
    write_json,
)

EMAIL = "alice@example.com"
PENDING = "SELECT 1 FROM orders WHERE status = 'PENDING'"


class Recorder:
    """A client that keeps each request with its response."""

    def __init__(self, fleet: Fleet, shop: Shop) -> None:
        self.exchanges: list[dict[str, Any]] = []
        self._fleet = fleet
        self._http = shop.http

    async def __call__(
        self, service: str, call: str, body: Any = None, key: str | None = None
    ) -> Any:
        """Send one request and return the decoded response, which must be a success."""
        method, path = call.split(" ")
        headers = {"Idempotency-Key": key} if key else {}
        url = self._fleet.url(service) + path
        answer = await self._http.request(method, url, json=body, headers=headers)
        assert answer.is_success, answer.text
        self.exchanges.append(
            {
                "service": service,
                "call": call,
                "key": key,
                "body": body,
                "status": answer.status_code,
                "response": answer.text,
            }
        )
        return answer.json()


def order_of(product: str, name: str, quantity: int) -> dict[str, Any]:
    line = {"product_id": product, "product_name": name, "quantity": quantity, "unit_price": 49.9}
    return {"customer_name": "Alice Exämple", "customer_email": EMAIL, "items": [line]}


async def published(fleet: Fleet, shop: Shop) -> list[dict[str, Any]]:
    """Every message, once each event has been mailed."""
    messages: list[dict[str, Any]] = []

    async def all_mailed() -> bool:
        messages[:] = await read_messages(fleet.kafka, [*EVENT_TOPICS, SENT_MAILS])
        counts = dict.fromkeys((*EVENT_TOPICS, SENT_MAILS), 0)
        for message in messages:
            counts[message["topic"]] += 1
        events = sum(counts[topic] for topic in EVENT_TOPICS)
        return all(counts.values()) and counts[SENT_MAILS] == events

    await until(all_mailed, 120, "each event is mailed")
    return messages


async def record(fleet: Fleet, folder: Path, failpoints: Path) -> None:
    shop = Shop(fleet)
    call = Recorder(fleet, shop)
    lamp = {"name": "Walnut desk lamp", "description": "Warm light.", "price": 49.9}
    lamp |= {"category": "Home", "tags": ["lamp"], "stock_quantity": 25}
    product = (await call("product-service", "POST /api/products", lamp))["id"]
    gone = (await call("product-service", "POST /api/products", lamp | {"name": "Gone"}))["id"]
    await call("product-service", f"DELETE /api/products/{gone}")
    for product_id, quantity in ((product, 1_000), ("gift card/é", 500), ("nearly-gone", 12)):
        new = {"product_id": product_id, "product_name": "Thing", "quantity": quantity}
        await call("inventory-service", "POST /api/inventory", new)

    lines = [{"product_id": one, "quantity": 2} for one in ("gift card/é", product)]
    await call("inventory-service", "PATCH /api/inventory/reduce", {"items": lines}, "reduce-many")
    one = f"/api/inventory/{product}"
    await call("inventory-service", f"PATCH {one}/reduce", {"quantity": 3}, "reduce-one")
    await call("inventory-service", f"PATCH {one}/restock", {"quantity": 4}, "restock-one")
    await call("inventory-service", f"PATCH {one}/reduce", {"quantity": 5}, "reversed")
    for key in ("reversed", "never-seen"):
        await call("inventory-service", f"POST /api/inventory/movements/{key}/reverse")
    await call("inventory-service", "PATCH /api/inventory/nearly-gone/reduce", {"quantity": 5})

    orders = [
        await call("order-service", "POST /api/orders", order_of(product, "Lamp", n), f"order-{n}")
        for n in (1, 2, 3)
    ]
    path = f"/api/orders/{orders[1]['id']}"
    await call("order-service", f"PATCH {path}/cancel", {"reason": "Changed my mind"})
    path = f"/api/orders/{orders[2]['id']}"
    await call("order-service", f"PATCH {path}/status", {"status": "SHIPPED"})
    write_json(folder / "messages.json", await published(fleet, shop))

    fleet("pause", "kafka")  # from now on events stay in the outbox
    unpublished = order_of(product, "Lamp", 4)
    await call("order-service", "POST /api/orders", unpublished, "order-unpublished")
    for movement in ("restock", "reduce"):  # a second crossing of the threshold
        path = f"/api/inventory/nearly-gone/{movement}"
        await call("inventory-service", f"PATCH {path}", {"quantity": 5})
    for order in orders:
        await call("order-service", f"GET /api/orders/{order['id']}")
    for path in (one, "/api/inventory/nearly-gone"):
        await call("inventory-service", f"GET {path}")
    await call("product-service", f"GET /api/products/{product}")
    write_json(folder / "exchanges.json", call.exchanges)

    (failpoints / "placing.saved").write_text("stop")  # the next order stays PENDING
    headers = {"Idempotency-Key": "order-pending"}
    body = order_of(product, "Lamp", 5)
    pending = asyncio.create_task(shop.http.post(shop.orders, json=body, headers=headers))

    async def is_pending() -> bool:
        return bool(await query(database_url(fleet.ports, "order_db"), PENDING))

    await until(is_pending, 10, "the order is PENDING", every=0.02)
    for database in DATABASES:
        dump = await asyncio.to_thread(dump_database, database_url(fleet.ports, database))
        (folder / f"{database}.sql").write_text(dump, encoding="utf-8")
    (folder / "products.json").write_text(await dump_products(fleet.ports) + "\n", "utf-8")
    for name in ("order-service", "kafka"):
        fleet("resume", name)
    await asyncio.gather(pending, return_exceptions=True)  # its client may have timed out
    await shop.http.aclose()


def record_contracts(folder: Path) -> None:
    """Copy the contracts; the large OpenAPI documents without white space."""
    (folder / "openapi").mkdir()
    for path in sorted((CONTRACTS / "openapi").glob("*.json")):
        text = json.dumps(json.loads(path.read_text()), separators=(",", ":"), ensure_ascii=False)
        (folder / "openapi" / path.name).write_text(text + "\n", encoding="utf-8")
    (folder / "events").mkdir()
    for path in sorted((CONTRACTS / "events").glob("*.schema.json")):
        shutil.copy(path, folder / "events")


def main(version: str) -> None:
    folder = GOLDEN / version
    draft = GOLDEN / f"{version}.draft"
    if folder.exists():
        sys.exit(f"{folder} exists already; recordings of a release are never changed.")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    fleet = Fleet()
    try:
        with tempfile.TemporaryDirectory() as failpoints:
            with fleet.settings({"FAILPOINTS": failpoints}):
                fleet("up")
            asyncio.run(record(fleet, draft, Path(failpoints)))
    finally:
        fleet.remove()
    record_contracts(draft)
    draft.rename(folder)


if __name__ == "__main__":
    main(sys.argv[1])
