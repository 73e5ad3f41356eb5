"""Catalogue reads with and without the gateway: a page of products, one product, a search."""

import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.figure import Figure, Measured
from benchmarks.fleet_under_load import FleetUnderLoad
from benchmarks.scenarios.orders import Orders
from benchmarks.tools import Load, Request, load_of, p99s, send_at, send_by, wrk
from tests.fleet_under_test import GATEWAY, SERVICES

CATALOGUE = "product-service"
ROUNDS = 3
CONNECTIONS = 32
_FASTEST = 3_000  # requests per second; the load tool cannot send more


@dataclass(slots=True)
class _Way:
    """One URL and the results of its rounds."""

    url: str
    headers: Mapping[str, str]
    loads: list[Load] = field(default_factory=list)
    cpu: list[Mapping[str, float]] = field(default_factory=list)

    def ask(self, fleet: FleetUnderLoad, seconds: float) -> None:
        with fleet.cpu() as cpu:
            load = wrk(self.url, seconds=seconds, connections=CONNECTIONS, headers=self.headers)
        self.loads.append(load)
        self.cpu.append({name: cpu.of(name) * 1000 / load.count for name in SERVICES})

    def rate(self) -> float:
        return statistics.median(load.rate for load in self.loads)

    def cpu_of(self, service: str) -> float:
        return statistics.median(each[service] for each in self.cpu)


def browsing(fleet: FleetUnderLoad, seconds: float) -> Measured:
    """Measure direct and gateway requests in turns; return medians."""
    product = fleet.catalogue()[0]
    figures = []
    for name, path in (
        ("list of 10", "/api/products?page_size=10"),
        ("one product", f"/api/products/{product['id']}"),
        ("search", "/api/products/search?q=chair"),
    ):
        direct = _Way(fleet.url(CATALOGUE) + path, {})
        gateway = _Way(fleet.gateway + path, fleet.bearer())
        for number in range(ROUNDS + 1):
            for way in (direct, gateway):
                way.ask(fleet, seconds if number else 1.0)
                if not number:  # the first round is the warm-up
                    way.loads.clear()
                    way.cpu.clear()
        against = gateway.rate() / direct.rate()
        figures += [
            Figure("reads", f"{name}, direct", direct.rate(), "/s"),
            Figure("reads", f"{name}, through the gateway", gateway.rate(), "/s"),
            Figure("reads", f"{name}, gateway against direct", against, "x"),
            Figure("reads", f"{name}, CPU of {CATALOGUE}", direct.cpu_of(CATALOGUE), "ms"),
            Figure("reads", f"{name}, CPU of the gateway", gateway.cpu_of(GATEWAY), "ms"),
        ]
    return Measured.of(figures)


def added_latency(fleet: FleetUnderLoad, seconds: float) -> Measured:
    """Measure the p99 of lists, direct and through the gateway, at half of the saturation rate."""
    path = "/api/products?page_size=10"
    headers = fleet.bearer()
    many = [Request("GET", fleet.gateway + path, headers)] * round(_FASTEST * seconds)
    rate = load_of(send_by(many, CONNECTIONS, seconds)).rate / 2
    alone, behind = fleet.url(CATALOGUE) + path, fleet.gateway + path
    direct, through = p99s(alone, behind, headers, rate, seconds)
    return Measured.of(
        [
            Figure("reads", "half of the saturation rate", rate, "/s"),
            Figure("reads", "p99 of a list, direct, at half of saturation", direct, "ms"),
            Figure("reads", "p99 of a list, through the gateway", through, "ms"),
        ]
    )


def mixed(orders: Orders, seconds: float) -> Measured:
    """Measure mixed traffic: 80 % browsing, 15 % searches, 5 % orders."""
    fleet, dice, rate = orders.fleet, random.Random(80155), 200.0  # noqa: S311
    headers, base = fleet.bearer(), fleet.gateway + "/api/products"
    count = int(rate * seconds)
    placing = orders.requests(count, orders.products)
    requests = []
    for _ in range(count):
        product, chance = dice.choice(orders.products), dice.random()
        if chance < 0.4:
            requests.append(Request("GET", f"{base}?page={dice.randint(1, 4)}", headers))
        elif chance < 0.8:
            requests.append(Request("GET", f"{base}/{product['id']}", headers))
        elif chance < 0.95:
            word = product["name"].split()[-1]
            requests.append(Request("GET", f"{base}/search?q={word}", headers))
        else:
            requests.append(next(placing))
    with fleet.cpu() as cpu:
        answers = send_at(requests, rate, seconds)
        orders.record(answers)
    reads = load_of([each for each in answers if each.status != 201])
    placed = load_of([each for each in answers if each.status == 201], 201)
    orders.settle()
    total = cpu.services * 1000 / len(answers)
    return Measured.of(
        [
            Figure("mixed", f"{rate:.0f} requests per second, reads, p50", reads.p50, "ms"),
            Figure("mixed", f"{rate:.0f} requests per second, reads, p99", reads.p99, "ms"),
            Figure("mixed", f"{rate:.0f} requests per second, orders, p50", placed.p50, "ms"),
            Figure("mixed", f"{rate:.0f} requests per second, orders, p99", placed.p99, "ms"),
            Figure("mixed", "CPU of the six services per request", total, "ms"),
        ]
    )
