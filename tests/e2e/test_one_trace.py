"""The trace of an order through all services, and personal data that must not be in telemetry."""

import asyncio
import json
import random
import secrets
import string
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import pytest

from fleet.emulators.traces.store import Span, Trace
from tests.fleet_under_test import GATEWAY, SCRAPE_TOKEN, SERVICES, Fleet, Shop, until

SCRAPE = {"Authorization": f"Bearer {SCRAPE_TOKEN}"}
MAILS = 2  # the confirmation and the follow-up

SpanPath = list[tuple[str, str, str]]  # service, kind and name of each span, from the root


class Customer:
    """A customer of the gateway with a unique token and name."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.http = shop.http
        self.gateway = shop.fleet.url(GATEWAY)
        canary = secrets.token_hex(8)
        self.email = f"canary-{canary}@example.com"
        self.name = f"Canary {canary}"
        self.token = shop.fleet.identity.token("admin")  # may order for other customers
        self.secrets = (canary, self.token, self.token.rpartition(".")[2])

    async def call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.http.request(method, self.gateway + path, headers=headers, **options)

    async def order(self, product: str) -> httpx2.Response:
        item = {"product_id": product, "product_name": "Thing", "quantity": 1, "unit_price": 9.99}
        person = {"customer_name": self.name, "customer_email": self.email}
        return await self.call("POST", "/api/orders", json={**person, "items": [item]})


@pytest.fixture(scope="module")
def customer(shop: Shop) -> Customer:
    return Customer(shop)


async def whole_trace(
    fleet: Fleet, trace_id: str, mails: int = MAILS, ways: Sequence[SpanPath] = ()
) -> Trace:
    """Wait until the trace has all its mails and their processing. Return the trace.

    Services export their spans every second. Spans of a path without a mail may arrive last, so
    such paths are awaited by name.
    """
    found: list[Trace] = []

    async def complete() -> bool:
        trace = await asyncio.to_thread(fleet.trace, trace_id)
        if trace is None:
            return False
        found[:] = [trace]
        names = [span.name for span in trace.spans.values()]
        if names.count("send mail") != mails or orphans(trace):
            return False
        there = [path_to(trace, span) for span in trace.spans.values()]
        return all(path in there for path in ways)

    await until(complete, 60, f"trace {trace_id} is complete")
    return found[0]


def orphans(trace: Trace) -> list[Span]:
    """Return spans whose parent is missing; the root span has none."""
    return [s for s in trace.spans.values() if s.parent_id and s.parent_id not in trace.spans]


def path_to(trace: Trace, span: Span) -> SpanPath:
    """Return service, kind and name of the spans from the root to a span."""
    path = [(span.service, span.kind, span.name)]
    while span.parent_id:
        span = trace.spans[span.parent_id]
        path.insert(0, (span.service, span.kind, span.name))
    return path


PLACED = [
    ("api-gateway", "server", "POST /api/orders"),
    ("api-gateway", "client", "POST order-service"),
    ("order-service", "server", "POST /api/orders"),
]
PUBLISHED = [
    *PLACED,
    ("order-service", "internal", "confirm order"),
    ("order-service", "client", "transaction"),
    ("order-service", "producer", "send order-placed"),
]
RESERVED = [
    *PLACED,
    ("order-service", "client", "PATCH inventory"),
    ("inventory-service", "server", "PATCH /api/inventory/reduce"),
    ("inventory-service", "client", "transaction"),
]
MAILED = [
    *PUBLISHED,
    ("notification-service", "consumer", "process order-placed"),
    ("notification-service", "client", "send mail"),
]
FOLLOWED_UP = [
    *PUBLISHED,
    ("ai-service", "consumer", "process order-placed"),
    ("ai-service", "producer", "send ai-notification-ready"),
    ("notification-service", "consumer", "process ai-notification-ready"),
    ("notification-service", "client", "send mail"),
]


async def test_promise_56_one_trace_from_gateway_to_mail(
    fleet: Fleet, shop: Shop, customer: Customer
) -> None:
    placed = await customer.order(await shop.stock(100))
    assert placed.status_code == 201, placed.text
    ways = (RESERVED, MAILED, FOLLOWED_UP)
    trace = await whole_trace(fleet, placed.headers["x-trace-id"], ways=ways)
    assert {span.trace_id for span in trace.spans.values()} == {placed.headers["x-trace-id"]}
    assert [s.service for s in trace.spans.values() if not s.parent_id] == ["api-gateway"]
    assert not trace.failed
    assert trace.order == placed.json()["order_number"]
    for service in {span.service for span in trace.spans.values()}:
        assert trace.id in fleet.log(service), f"the log of {service} names the trace"


@pytest.mark.local
async def test_make_traces_shows_trace_of_order_number(
    fleet: Fleet, shop: Shop, customer: Customer
) -> None:
    placed = await customer.order(await shop.stock(100))
    await whole_trace(fleet, placed.headers["x-trace-id"])
    shown = await fleet.run("traces", placed.json()["order_number"])
    assert placed.headers["x-trace-id"] in shown
    assert [line for line in shown.splitlines() if "send mail" in line]
    page = await shop.http.get(f"{fleet.url('traces')}/trace/{placed.headers['x-trace-id']}")
    assert "process order-placed" in page.text
    listed = await shop.http.get(fleet.url("traces"))
    assert placed.json()["order_number"] in listed.text


async def send_personal_data(shop: Shop, customer: Customer) -> None:
    """Send personal data in valid requests, invalid requests and invalid messages."""
    placed = await customer.order(await shop.stock(100))
    order = placed.json()["id"]
    email, token = customer.email, customer.token
    calls = [
        ("GET", f"/api/orders/user/{email}"),
        ("GET", f"/api/products/search?q={email}&access_token={token}"),
        ("GET", f"/api/orders/{email}"),
        ("GET", f"/{email}/{token}"),
        ("PATCH", f"/api/orders/{order}/cancel"),
        ("PATCH", f"/api/orders/{order}/status"),
    ]
    for method, path in calls:
        await customer.call(method, path)
    bad = {"customer_email": email, "items": customer.name, email: token}
    for base in (customer.gateway, shop.fleet.url("order-service")):
        headers = {"Authorization": f"Bearer {token}"}
        await shop.http.post(f"{base}/api/orders", json=bad, headers=headers)
        forged = {"Authorization": f"Bearer {token}x"}
        await shop.http.get(f"{base}/api/orders/user/{email}", headers=forged)
    await shop.publish_raw("order-placed", json.dumps({"customer_email": email}).encode())
    await shop.publish_raw("order-placed", f"{email} {token}".encode())

    async def dead_lettered() -> bool:
        return any(token.encode() in value for value in await shop.dead_letters("order-placed"))

    await until(dead_lettered, 60, "the poison is a dead letter")
    await whole_trace(shop.fleet, placed.headers["x-trace-id"])


async def metrics_of(shop: Shop, service: str, accept: str = "text/plain") -> str:
    answer = await shop.http.get(
        f"{shop.fleet.url(service)}/metrics", headers={**SCRAPE, "Accept": accept}
    )
    assert answer.status_code == 200
    return answer.text


async def test_promise_57_no_personal_data_in_logs_metrics_and_spans(
    fleet: Fleet, shop: Shop, customer: Customer
) -> None:
    await send_personal_data(shop, customer)
    outputs = {f"log of {name}": text for name, text in fleet.logs().items()}
    for service in SERVICES:
        for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            outputs[f"metrics of {service}, {accept}"] = await metrics_of(shop, service, accept)
    traces = await fleet.traces(shop.http)
    assert len(traces) > 5
    outputs |= {f"trace {trace_id}": text for trace_id, text in traces.items()}
    assert any("order-placed" in text for text in outputs.values())
    for place, text in outputs.items():
        for secret in customer.secrets:
            assert secret not in text, place


async def series_of(shop: Shop, service: str) -> set[str]:
    """Return all series by name and labels, without their values."""
    lines = (await metrics_of(shop, service)).splitlines()
    return {line.rpartition(" ")[0] for line in lines if line and line[0] != "#"}


def random_requests() -> Iterator[tuple[str, str]]:
    """Yield random methods and paths that were not requested before."""
    word = "".join(random.choices(string.ascii_letters + string.digits, k=12))
    for method in ("GET", "PATCH", word.upper()):
        for address in (
            f"/{word}",
            f"/api/{word}",
            f"/api/products/{word}",
            f"/api/products?category={word}",
            f"/api/orders/{word}",
            f"/api/orders/user/{word}@example.com",
            f"/api/inventory/{word}",
            f"/api/inventory/{word}/check?quantity=1",
            f"/api/{word}/{word}/{word}",
        ):
            yield method, address


async def test_promise_58_ten_thousand_random_addresses_add_no_series(shop: Shop) -> None:
    """The baseline is taken after every possible response occurred once."""

    async def ask(service: str, count: int) -> None:
        while count > 0:
            for method, address in random_requests():
                await shop.http.request(method, shop.fleet.url(service) + address)
                count -= 1

    async def ask_all(count: int) -> None:
        await asyncio.gather(*(ask(service, count // 4) for service in SERVICES for _ in "1234"))

    await ask_all(600)
    for service in SERVICES:
        await series_of(shop, service)  # creates the series of the scrape itself
    before = {service: await series_of(shop, service) for service in SERVICES}
    await ask_all(10_000 // len(SERVICES))
    for service in SERVICES:
        assert await series_of(shop, service) == before[service], service
        assert len(before[service]) > 20
