"""How soon the fleet answers, and how much memory its six services take."""

import time
from collections.abc import Callable

import httpx2

from benchmarks.figure import Figure, Measured, Series, at_most
from benchmarks.fleet_under_load import FleetUnderLoad
from benchmarks.scenarios.orders import Orders
from benchmarks.tools import Request, load_of, send_at
from tests.fleet_under_test import SERVICES

_APIS = ("/api/products?page_size=1", "/api/inventory?limit=1", "/api/orders/me", "/api/ai/health")
_QUIET = 5.0  # seconds after a start in which garbage of the start may go
_SOAK_RATE = 40.0


def cold_start(fleet: FleetUnderLoad) -> Measured:
    """With nothing there: databases are created and migrated."""
    return Measured.of([Figure("start", "cold, until every part answers", fleet.up(), "s")])


def warm_start(fleet: FleetUnderLoad) -> Measured:
    """Everything stopped and started again, with its data."""
    took = []
    for _ in range(3):
        fleet.down()
        took.append(fleet.up())
    best = sorted(took)[1]
    return Measured.of([Figure("start", "warm, until every API answers", best, "s", at_most(5))])


def idle_memory(fleet: FleetUnderLoad) -> Measured:
    """After a start, each API asked once."""
    headers = fleet.bearer()
    with httpx2.Client(base_url=fleet.gateway, headers=headers, timeout=15) as http:
        for path in _APIS:
            http.get(path)
    time.sleep(_QUIET)
    return Measured.of(_memory(fleet, "idle", at_most_total=480.0))


def memory_after_load(fleet: FleetUnderLoad) -> Measured:
    """What it has grown to by all that was asked before."""
    return Measured.of(_memory(fleet, "after load"))


def soak(orders: Orders, minutes: float, say: Callable[[str], None]) -> Measured:
    """Mixed traffic for minutes; memory at each of them."""
    fleet, lines = orders.fleet, {name: [] for name in (*SERVICES, "together")}
    began = time.monotonic()
    while (passed := (time.monotonic() - began) / 60) < minutes:
        headers = fleet.bearer()
        reads = [
            Request("GET", f"{fleet.gateway}/api/products/{product['id']}", headers)
            for product in orders.products
        ] * 60
        placing = list(orders.requests(int(_SOAK_RATE * 30 * 0.2), orders.products))
        for position, request in enumerate(placing):
            reads[position * 5] = request
        answers = send_at(reads[: int(_SOAK_RATE * 30)], _SOAK_RATE, 30)
        orders.told(answers)
        load_of([answer for answer in answers if answer.status != 201])
        for name, (rss, _) in fleet.memory().items():
            lines[name].append((passed, rss))
        lines["together"].append((passed, sum(lines[name][-1][1] for name in SERVICES)))
        say(f"{passed:.1f} min: {lines['together'][-1][1]:.0f} MB")
    orders.settle()
    together = [rss for _, rss in lines["together"]]
    half = len(together) // 2
    growth = max(together[half:]) / max(together[:half]) if half else 1.0
    return Measured.of(
        [
            Figure("memory", f"soak of {minutes:g} min: at its end", together[-1], "MB"),
            Figure("memory", "soak: most in the second half against the first", growth, "x",
                   at_most(1.05)),
        ],
        [Series("memory", "RSS of the services while they work, by minute", "MB", lines)],
    )  # fmt: skip


def _memory(
    fleet: FleetUnderLoad, when: str, *, at_most_total: float | None = None
) -> list[Figure]:
    found = fleet.memory()
    goal = at_most(at_most_total) if at_most_total else None
    total_rss, total_pss = (sum(each[n] for each in found.values()) for n in (0, 1))
    return [
        Figure("memory", f"{when}: six services, RSS", total_rss, "MB", goal),
        Figure("memory", f"{when}: six services, PSS", total_pss, "MB"),
        *(Figure("memory", f"{when}: {name}, RSS", rss, "MB") for name, (rss, _) in found.items()),
    ]
