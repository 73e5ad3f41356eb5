"""An order's way through everything, as the spans tell it; and what they must not tell."""

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
MAILS = 2  # the confirmation, and the AI's follow-up

Way = list[tuple[str, str, str]]  # service, kind and name of each span, from the top down


class Customer:
    """Orders through the gateway, with a token and a name that occur nowhere else."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.http = shop.http
        self.gateway = shop.fleet.url(GATEWAY)
        canary = secrets.token_hex(8)
        self.email = f"canary-{canary}@example.com"
        self.name = f"Canary {canary}"
        self.token = shop.fleet.identity.token("admin")  # may order for others
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
    fleet: Fleet, trace_id: str, mails: int = MAILS, ways: Sequence[Way] = ()
) -> Trace:
    """The trace once so many mails have been sent in it, and their messages are done with.

    Each service sends its spans when its own second is over: those at the end of a way that no
    mail is on may come last, so such ways are waited for by name.
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
        there = [way_to(trace, span) for span in trace.spans.values()]
        return all(way in there for way in ways)

    await until(complete, 60, f"trace {trace_id} is complete")
    return found[0]


def orphans(trace: Trace) -> list[Span]:
    """Spans whose parent never arrived; the one at the top has none."""
    return [s for s in trace.spans.values() if s.parent_id and s.parent_id not in trace.spans]


def way_to(trace: Trace, span: Span) -> Way:
    """From the top down to a span: service, kind and name of each."""
    way = [(span.service, span.kind, span.name)]
    while span.parent_id:
        span = trace.spans[span.parent_id]
        way.insert(0, (span.service, span.kind, span.name))
    return way


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


async def test_promise_56_one_trace_from_the_gateway_to_the_mail(
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
async def test_make_traces_shows_an_orders_way_by_its_number(
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


async def be_conspicuous(shop: Shop, customer: Customer) -> None:
    """Whatever may bring an address or a token into a log: good calls, bad ones, poison."""
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

    async def buried() -> bool:
        return any(token.encode() in value for value in await shop.dead_letters("order-placed"))

    await until(buried, 60, "the poison is a dead letter")
    await whole_trace(shop.fleet, placed.headers["x-trace-id"])


async def metrics_of(shop: Shop, service: str, accept: str = "text/plain") -> str:
    answer = await shop.http.get(
        f"{shop.fleet.url(service)}/metrics", headers={**SCRAPE, "Accept": accept}
    )
    assert answer.status_code == 200
    return answer.text


async def test_promise_57_no_address_name_or_token_in_logs_metrics_and_spans(
    fleet: Fleet, shop: Shop, customer: Customer
) -> None:
    await be_conspicuous(shop, customer)
    told = {f"log of {name}": text for name, text in fleet.logs().items()}
    for service in SERVICES:
        for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            told[f"metrics of {service}, {accept}"] = await metrics_of(shop, service, accept)
    traces = await fleet.traces(shop.http)
    assert len(traces) > 5
    told |= {f"trace {trace_id}": text for trace_id, text in traces.items()}
    assert any("order-placed" in text for text in told.values())
    for place, text in told.items():
        for secret in customer.secrets:
            assert secret not in text, place


async def series_of(shop: Shop, service: str) -> set[str]:
    """All series by name and labels, without their values."""
    lines = (await metrics_of(shop, service)).splitlines()
    return {line.rpartition(" ")[0] for line in lines if line and line[0] != "#"}


def random_requests() -> Iterator[tuple[str, str]]:
    """Methods and addresses of every kind, which nobody has asked for before."""
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
    """After so many of each kind that every answer they can get has been given once."""

    async def ask(service: str, count: int) -> None:
        while count > 0:
            for method, address in random_requests():
                await shop.http.request(method, shop.fleet.url(service) + address)
                count -= 1

    async def ask_all(count: int) -> None:
        await asyncio.gather(*(ask(service, count // 4) for service in SERVICES for _ in "1234"))

    await ask_all(600)
    for service in SERVICES:
        await series_of(shop, service)  # so that the scrapes' own series are there
    before = {service: await series_of(shop, service) for service in SERVICES}
    await ask_all(10_000 // len(SERVICES))
    for service in SERVICES:
        assert await series_of(shop, service) == before[service], service
        assert len(before[service]) > 20
