"""Start time of the fleet, and memory of its six services."""

import statistics
import time
from collections.abc import Callable

import httpx2

from benchmarks.figure import Figure, Measured, Series
from benchmarks.fleet_under_load import FleetUnderLoad
from benchmarks.scenarios.orders import Orders
from benchmarks.tools import Request, load_of, send_at
from tests.fleet_under_test import SERVICES

_APIS = ("/api/products?page_size=1", "/api/inventory?limit=1", "/api/orders/me", "/api/ai/health")
_QUIET = 5.0  # seconds after a start for garbage collection
_IDLE = 10.0  # seconds without requests
_SOAK_RATE = 40.0


def cold_start(fleet: FleetUnderLoad) -> Measured:
    """Start without data: databases are created and migrated."""
    return Measured.of([Figure("start", "cold, until every part answers", fleet.up(), "s")])


def warm_start(fleet: FleetUnderLoad) -> Measured:
    """Stop and start the fleet with its data, three times; return the median."""
    took = []
    for _ in range(3):
        fleet.down()
        took.append(fleet.up())
    median = statistics.median(took)
    return Measured.of([Figure("start", "warm, until every API answers", median, "s")])


def idling(fleet: FleetUnderLoad) -> Measured:
    """Measure memory and CPU after a start and one request to each API."""
    headers = fleet.bearer()
    with httpx2.Client(base_url=fleet.gateway, headers=headers, timeout=15) as http:
        for path in _APIS:
            http.get(path)
    time.sleep(_QUIET)
    memory = _memory(fleet, "idle")
    with fleet.cpu() as cpu:
        time.sleep(_IDLE)
    idle = Figure("idle", "CPU of the six services a second", cpu.services * 1000 / _IDLE, "ms")
    return Measured.of([*memory, idle])


def memory_after_load(fleet: FleetUnderLoad) -> Measured:
    """Measure memory after the other scenarios."""
    return Measured.of(_memory(fleet, "after load"))


def soak(orders: Orders, minutes: float, say: Callable[[str], None]) -> Measured:
    """Send mixed traffic and measure memory every half minute."""
    fleet = orders.fleet
    lines: dict[str, list[tuple[float, float]]] = {n: [] for n in (*SERVICES, "together")}
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
        orders.record(answers)
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
            Figure("memory", f"soak of {minutes:g} min, at its end", together[-1], "MB"),
            Figure("memory", "soak, maximum of its second half against its first", growth, "x"),
        ],
        [Series("RSS of the services under load, by minute", "MB", lines)],
    )


def _memory(fleet: FleetUnderLoad, when: str) -> list[Figure]:
    found = fleet.memory()
    rss, pss = (sum(each[n] for each in found.values()) for n in (0, 1))
    return [
        Figure("memory", f"{when}, six services, RSS", rss, "MB"),
        Figure("memory", f"{when}, six services, PSS", pss, "MB"),
        *(Figure("memory", f"{when}, {name}, RSS", own, "MB") for name, (own, _) in found.items()),
    ]
