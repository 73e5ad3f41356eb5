"""Promise 59: readiness reports outages of dependencies; liveness does not depend on them.

Only the part that a test has stopped is restarted, so a service that becomes ready again has
survived the outage.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from tests.fleet_under_test import GATEWAY, SERVICES, Fleet, Shop, until

SECONDS = 5.0  # until readiness reports an outage
DOWN, DEGRADED = 503, 200

NEEDS: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "postgres": {
        "order-service": ("database", DOWN),
        "inventory-service": ("database", DOWN),
    },
    "mongo": {"product-service": ("database", DOWN)},
    "kafka": {
        "order-service": ("kafka", DEGRADED),
        "inventory-service": ("kafka", DEGRADED),
        "ai-service": ("kafka", DEGRADED),
        "notification-service": ("kafka", DOWN),
    },
    "mailbox": {"notification-service": ("smtp", DEGRADED)},
    "identity": {
        GATEWAY: ("identity-provider", DEGRADED),
        "order-service": ("identity-provider", DEGRADED),
    },
    "product-service": {
        GATEWAY: ("product-service", DEGRADED),
        "ai-service": ("product-service", DEGRADED),
        "order-service": ("product-service", DEGRADED),
    },
    "inventory-service": {
        GATEWAY: ("inventory-service", DEGRADED),
        "order-service": ("inventory-service", DEGRADED),
    },
    "order-service": {GATEWAY: ("order-service", DEGRADED)},
    "ai-service": {GATEWAY: ("ai-service", DEGRADED)},
}
"""Stopped part → affected services: the row in their readiness, and its status.

The model is not listed, because readiness does not call it (ai-service/tests/integration).
"""

HANGING = [(part, "pause", "resume") for part in NEEDS]
DEAD = [(part, "kill", "restart") for part in ("postgres", "mongo", "mailbox", "identity")]
"""Kafka is not listed: a kill of the embedded broker loses its topics."""


async def readiness(shop: Shop, service: str) -> tuple[int, dict[str, str]]:
    """Return the status code and the status of each dependency."""
    answer = await shop.http.get(f"{shop.fleet.url(service)}/health/ready")
    table = answer.json()["dependencies"]
    return answer.status_code, {name: row["status"] for name, row in table.items()}


async def all_up(shop: Shop) -> bool:
    answers = await asyncio.gather(*(readiness(shop, service) for service in SERVICES))
    return all(code == 200 and set(rows.values()) == {"UP"} for code, rows in answers)


@asynccontextmanager
async def outage(fleet: Fleet, shop: Shop, part: str, end: str, back: str) -> AsyncIterator[None]:
    """Stop a part; afterwards restore it and wait until every service is ready."""
    await until(lambda: all_up(shop), 30, "everything is up before")
    await fleet.run(end, part)
    try:
        yield
    finally:
        await fleet.run(back, part)
    await until(lambda: all_up(shop), 30, f"everything is up after {part} came back")


async def expect_readiness(shop: Shop, service: str, row: str, code: int) -> None:
    """Wait until readiness reports this row, and no other row has changed."""
    expected = {row: "DOWN" if code == DOWN else "DEGRADED"}
    seen: Any = None

    async def as_promised() -> bool:
        nonlocal seen
        answered, rows = await readiness(shop, service)
        seen = answered, {name: status for name, status in rows.items() if status != "UP"}
        return bool(seen == (code, expected))

    try:
        await until(as_promised, SECONDS, "readiness reports the outage")
    except AssertionError as error:
        raise AssertionError(f"{service}: {seen} instead of {(code, expected)}") from error


async def assert_alive(fleet: Fleet, service: str) -> None:
    """Check that liveness answers at once on a new connection."""
    async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as http:
        for _ in range(3):
            answer = await http.get(f"{fleet.url(service)}/health")
            assert (answer.status_code, answer.json()["status"]) == (200, "UP"), service


@pytest.mark.parametrize(("part", "end", "back"), [*HANGING, *DEAD])
async def test_promise_59_outage_shows_in_readiness_within_5_s_and_restarts_no_service(
    fleet: Fleet, shop: Shop, part: str, end: str, back: str
) -> None:
    async with outage(fleet, shop, part, end, back):
        began = time.monotonic()
        rows = (expect_readiness(shop, service, *row) for service, row in NEEDS[part].items())
        alive = (assert_alive(fleet, service) for service in SERVICES if service != part)
        await asyncio.gather(*rows, *alive)
        print(f"{part} {end}: {time.monotonic() - began:.1f} s")


async def test_promise_59_table_covers_every_readiness_row(fleet: Fleet, shop: Shop) -> None:
    for service in SERVICES:
        _, rows = await readiness(shop, service)
        known = {
            row for users in NEEDS.values() for name, (row, _) in users.items() if name == service
        }
        assert set(rows) - {"indexes", "search index"} == known, service
