"""Orders through the gateway: rate, CPU, latency, and the delay until the mail."""

import asyncio
import json
import math
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from benchmarks.baselines import order_floor
from benchmarks.figure import MAIN_ORDERS, Figure, Measured, Series
from benchmarks.fleet_under_load import CUSTOMER, EMAIL, FleetUnderLoad
from benchmarks.tools import Answer, Load, Request, load_of, send_at, send_by
from fleet.errors import FleetError
from tests.fleet_under_test import SERVICES
from tests.judge.checks import CHECKS, CheckResult
from tests.judge.checks.run_data import RunData
from tests.judge.evidence import State, done, mailed, read_state, settled
from tests.judge.figures import quantile
from tests.judge.history import Attempt, History, Kind, Outcome

SETTLE = 180.0  # seconds until mails and recovery of a burst are complete
PIECES = 1_000_000
# The judge's checks that apply to a run without faults.
APPLY = (
    "stock conserved in total",
    "no product oversold",
    "each order has its stock",
    "every 201 has an order",
    "no unexplained order",
    "one order for each key",
    "every order in a legal state",
    "no order unfinished too long",
    "no internal error",
    "committed orders are on the topic",
    "events in order for each aggregate",
    "dead letters are explained",
    "one confirmation for each order",
    "one follow-up at most",
)


@dataclass(slots=True)
class Orders:
    """All orders of a run, recorded for the judge's checks."""

    fleet: FleetUnderLoad
    products: list[dict[str, Any]]
    initial: dict[str, int]
    before: State
    history: History = field(default_factory=History)

    @classmethod
    def of(cls, fleet: FleetUnderLoad) -> "Orders":
        products = fleet.catalogue()
        initial = fleet.stock_up(products, PIECES)
        return cls(fleet, products, initial, asyncio.run(read_state(fleet.addresses)))

    def requests(self, count: int, products: Sequence[dict[str, Any]]) -> Iterator[Request]:
        """Yield requests for orders of one item, each with its own customer name and key."""
        dice = random.Random(count)  # noqa: S311
        headers = self.fleet.bearer() | {"Content-Type": "application/json"}
        for _ in range(count):
            product, intent = dice.choice(products), secrets.token_hex(8)
            item = {
                "product_id": product["id"],
                "product_name": product["name"],
                "quantity": 1,
                "unit_price": product["price"],
            }
            body = {"customer_name": intent, "customer_email": EMAIL, "items": [item]}
            self.history.add(
                Attempt(
                    Kind.PLACE, CUSTOMER, 0.0, intent=intent, key=intent, pieces={product["id"]: 1}
                )
            )
            yield Request(
                "POST",
                f"{self.fleet.gateway}/api/orders",
                headers | {"Idempotency-Key": intent},
                json.dumps(body).encode(),
            )

    def record(self, answers: Sequence[Answer]) -> None:
        """Store the outcomes of answered requests. Others remain unknown."""
        waiting = {each.intent: each for each in self.history.attempts if not each.order_id}
        for answer in answers:
            if answer.status == 201:
                order = json.loads(answer.body)
                attempt = waiting[order["customer_name"]]
                attempt.invoked, attempt.ended = answer.began, answer.began + answer.took
                attempt.outcome, attempt.status = Outcome.OK, 201
                attempt.order_id, attempt.body = order["id"], answer.body.decode()

    def settle(self) -> None:
        """Wait until all orders are processed, including their mails."""
        left = asyncio.run(done(self.fleet.addresses, SETTLE))
        if left:
            raise FleetError(f"not complete {SETTLE:.0f} s after the load: {left}")

    def judge(self) -> list[CheckResult]:
        """Run the judge's checks on the current state."""
        unsettled = asyncio.run(settled(self.fleet.addresses, SETTLE))
        state = asyncio.run(read_state(self.fleet.addresses))
        shelves = state.shelves
        state.exclude_before(self.before)
        state.shelves = shelves  # the products are older than the orders
        run_data = RunData(self.history, state, self.initial, unsettled=unsettled)
        verdicts = []
        for name in APPLY:
            finding = CHECKS[name](run_data)
            verdicts.append(CheckResult(name, finding.looked_at, finding.violations))
        return verdicts


def warm_up(orders: Orders) -> Measured:
    """Place orders that are not measured."""
    _burst(orders, 16, orders.products, 3)
    return Measured.of([])


def placing(orders: Orders, seconds: float) -> Measured:
    """Measure orders of 16 and 64 concurrent customers, for one product and for all."""
    fleet, figures, notes = orders.fleet, [], []
    everything, hot = orders.products, orders.products[:1]
    for clients, choice, products in (
        (16, "all products", everything),
        (16, "one product", hot),
        (64, "all products", everything),
        (64, "one product", hot),
    ):
        load, cpu = _burst(orders, clients, products, seconds)
        name = f"{clients} clients, {choice}"
        total = sum(cpu.values()) * 1000 / load.count
        figures += [
            Figure("orders", f"{name}: rate", load.rate, "/s"),
            Figure("orders", f"{name}: CPU of the six services per order", total, "ms"),
            Figure("orders", f"{name}: p50", load.p50, "ms"),
            Figure("orders", f"{name}: p99", load.p99, "ms"),
        ]
        each = (f"{service} {cpu[service] * 1000 / load.count:.2f}" for service in SERVICES)
        notes.append(f"{name}, CPU ms per order: {', '.join(each)}")
        if name == MAIN_ORDERS:
            floor = asyncio.run(order_floor.rate(fleet.addresses, clients, seconds))
            against = load.rate / floor
            figures += [
                Figure("orders", "the same SQL alone over asyncpg", floor, "/s"),
                Figure("orders", f"{name}: rate against its SQL alone", against, "x"),
            ]
    return Measured.of(figures, notes=notes)


def mails(orders: Orders, seconds: float) -> Measured:
    """Measure the time from the order request to the confirmation in the mailbox."""
    figures, series = [], []
    for rate in (5, 50, 100):
        answers = send_at(orders.requests(round(rate * seconds), orders.products), rate, seconds)
        load = load_of(answers, 201)
        orders.record(answers)
        orders.settle()
        delays = list(_delays(orders, answers))
        if len(delays) < len(answers):
            raise FleetError(f"{len(answers) - len(delays)} orders have no recognised mail")
        name = f"{rate} orders per second"
        figures += [
            Figure("mails", f"{name}, to the mail, p50", quantile(delays, 0.5), "ms"),
            Figure("mails", f"{name}, to the mail, p95", quantile(delays, 0.95), "ms"),
            Figure("mails", f"{name}, to the 201, p95", load.p95, "ms"),
        ]
        curve = [(q / 100, quantile(delays, q / 100)) for q in range(100)]
        series.append((f"{rate}/s", curve))
    title = "order to mail by share of the orders"
    return Measured.of(figures, [Series(title, "ms", dict(series))])


def _burst(
    orders: Orders, clients: int, products: Sequence[dict[str, Any]], seconds: float
) -> tuple[Load, dict[str, float]]:
    """Return the load, and the CPU seconds of each service until all work was complete."""
    requests = list(orders.requests(math.ceil(500 * seconds), products))
    with orders.fleet.cpu() as cpu:
        answers = send_by(requests, clients, seconds)
        orders.record(answers)
        orders.settle()
    return load_of(answers, 201), {name: cpu.of(name) for name in SERVICES}


def _delays(orders: Orders, answers: Sequence[Answer]) -> Iterator[float]:
    """Yield milliseconds from request to mail; both times are from this machine's clock."""
    began = {json.loads(answer.body)["order_number"]: answer.began for answer in answers}
    for mail in asyncio.run(mailed(orders.fleet.addresses.mailbox)):
        subject = mail["Subject"]
        if subject.endswith(" is confirmed"):
            number = subject.removeprefix("Your order ").removesuffix(" is confirmed")
            if number in began:
                arrived = datetime.fromisoformat(mail["Created"]).timestamp()
                yield (arrived - began[number]) * 1000
