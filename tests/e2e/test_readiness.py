"""Promise 59: readiness tells the truth; liveness never depends on others.

Nothing here restarts a service but the one that a test has stopped: who is ready again has lived
through the outage.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from tests.fleet_under_test import GATEWAY, SERVICES, Fleet, Shop, until

SECONDS = 5.0  # until readiness says that something is away
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
"""What may be away → who needs it: its row in their table, and what readiness then answers.

The model is not here: nobody asks it for readiness' sake (ai-service/tests/integration).
"""

HANGING = [(part, "pause", "resume") for part in NEEDS]
DEAD = [(part, "kill", "restart") for part in ("postgres", "mongo", "mailbox", "identity")]
"""Of the embedded broker a kill would take the topics along."""


async def readiness(shop: Shop, service: str) -> tuple[int, dict[str, str]]:
    """The answer's status, and each row's."""
    answer = await shop.http.get(f"{shop.fleet.url(service)}/health/ready")
    table = answer.json()["dependencies"]
    return answer.status_code, {name: row["status"] for name, row in table.items()}


async def all_up(shop: Shop) -> bool:
    answers = await asyncio.gather(*(readiness(shop, service) for service in SERVICES))
    return all(code == 200 and set(rows.values()) == {"UP"} for code, rows in answers)


@asynccontextmanager
async def away(fleet: Fleet, shop: Shop, part: str, end: str, back: str) -> AsyncIterator[None]:
    """The part is away; afterwards it is back, and every service says so."""
    await until(lambda: all_up(shop), 30, "everything is up before")
    await fleet.run(end, part)
    try:
        yield
    finally:
        await fleet.run(back, part)
    await until(lambda: all_up(shop), 30, f"everything is up after {part} came back")


async def says(shop: Shop, service: str, row: str, code: int) -> None:
    """Wait until readiness is as promised; then it stays so, and no other row has changed."""
    expected = {row: "DOWN" if code == DOWN else "DEGRADED"}
    seen: Any = None

    async def as_promised() -> bool:
        nonlocal seen
        answered, rows = await readiness(shop, service)
        seen = answered, {name: status for name, status in rows.items() if status != "UP"}
        return bool(seen == (code, expected))

    try:
        await until(as_promised, SECONDS, "readiness tells it")
    except AssertionError as error:
        raise AssertionError(f"{service}: {seen} instead of {(code, expected)}") from error


async def lives(fleet: Fleet, service: str) -> None:
    """Liveness answers at once, on a connection of its own."""
    async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as http:
        for _ in range(3):
            answer = await http.get(f"{fleet.url(service)}/health")
            assert (answer.status_code, answer.json()["status"]) == (200, "UP"), service


@pytest.mark.parametrize(("part", "end", "back"), [*HANGING, *DEAD])
async def test_promise_59_what_is_away_shows_within_5_s_and_is_nobodys_death(
    fleet: Fleet, shop: Shop, part: str, end: str, back: str
) -> None:
    async with away(fleet, shop, part, end, back):
        began = time.monotonic()
        rows = (says(shop, service, *row) for service, row in NEEDS[part].items())
        alive = (lives(fleet, service) for service in SERVICES if service != part)
        await asyncio.gather(*rows, *alive)
        print(f"{part} {end}: {time.monotonic() - began:.1f} s")


async def test_promise_59_the_table_above_has_every_row_that_a_service_shows(
    fleet: Fleet, shop: Shop
) -> None:
    for service in SERVICES:
        _, rows = await readiness(shop, service)
        known = {
            row for users in NEEDS.values() for name, (row, _) in users.items() if name == service
        }
        assert set(rows) - {"indexes"} == known, service
