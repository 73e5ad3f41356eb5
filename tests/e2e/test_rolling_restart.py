"""Promise 60: each of twelve processes is restarted under load, and no request fails."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from tests.fleet_under_test import GATEWAY, SERVICES, Fleet, Shop, until

pytestmark = pytest.mark.local  # starts its own fleet with two replicas of each process
CUSTOMERS = 6
PAUSE = 0.8  # maximum seconds between two requests of a customer
EMAIL = "alice@example.com"
PIECES = 10_000


@pytest.fixture(scope="module")
def pair() -> Iterator[Fleet]:
    """A separate fleet with two replicas of each service and a seeded catalogue."""
    fleet = Fleet(replicas=2)
    try:
        fleet("up")
        fleet("seed")
        yield fleet
    finally:
        fleet.remove()


class LoadBalancer:
    """An HTTP client that uses two gateways in turn, with keep-alive connections.

    It uses the other gateway if the first refused the connection, so the request was not sent.
    Idempotent requests are also retried if a keep-alive connection was closed without a response,
    as HTTP clients do.
    """

    def __init__(self, urls: list[str]) -> None:
        limits = httpx2.Limits(max_connections=100, keepalive_expiry=3.0)
        self._clients = [
            httpx2.AsyncClient(base_url=url, timeout=15.0, limits=limits) for url in urls
        ]
        self.repeated: Counter[str] = Counter()

    async def request(
        self, method: str, path: str, *, headers: dict[str, str], json: Any = None
    ) -> httpx2.Response:
        first, other = self._clients
        self._clients.reverse()
        twice = method == "GET" or "Idempotency-Key" in headers
        try:
            return await first.request(method, path, headers=headers, json=json)
        except httpx2.ConnectError:
            self.repeated["refused"] += 1
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            if not twice:
                raise
            self.repeated["closed"] += 1
        return await other.request(method, path, headers=headers, json=json)

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()


class Customers:
    """Customers who browse, order and cancel through the gateways, one request after the other."""

    def __init__(self, fleet: Fleet, products: list[dict[str, Any]]) -> None:
        self._fleet = fleet
        self._products = products
        self._over = asyncio.Event()
        self.http = LoadBalancer([fleet.url(GATEWAY), fleet.url(f"{GATEWAY}-2")])
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []
        self.placed: list[str] = []
        self.cancelled: set[str] = set()

    async def run(self) -> None:
        """Send requests until `leave` is called; errors are collected in `failed`."""
        await asyncio.gather(*(self._shop(random.Random(number)) for number in range(CUSTOMERS)))

    def leave(self) -> None:
        self._over.set()

    async def _shop(self, dice: random.Random) -> None:
        visit = self._browse, self._search, self._check, self._order, self._order, self._cancel
        while not self._over.is_set():
            await dice.choice(visit)(dice.choice(self._products))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), dice.uniform(0, PAUSE))

    async def _ask(
        self, action: str, method: str, path: str, *, key: str = "", json: Any = None
    ) -> Any:
        token = await asyncio.to_thread(self._fleet.identity.token, "alice")
        headers = {"Authorization": f"Bearer {token}"}
        if key:
            headers["Idempotency-Key"] = key
        began = time.strftime("%H:%M:%S")
        try:
            answer = await self.http.request(method, path, headers=headers, json=json)
        except httpx2.TransportError as error:
            self.failed.append(f"{began} {action}: {error!r}")
            return None
        if answer.status_code >= 300:
            self.failed.append(f"{began} {action}: {answer.status_code} {answer.text}")
            return None
        self.answered[action] += 1
        return answer.json()

    async def _browse(self, product: dict[str, Any]) -> None:
        await self._ask("browse", "GET", f"/api/products/{product['id']}")

    async def _search(self, product: dict[str, Any]) -> None:
        await self._ask("search", "GET", f"/api/products/search?q={product['name'].split()[0]}")

    async def _check(self, product: dict[str, Any]) -> None:
        await self._ask("check", "GET", f"/api/inventory/{product['id']}/check?quantity=1")

    async def _order(self, product: dict[str, Any]) -> None:
        item = {
            "product_id": product["id"],
            "product_name": product["name"],
            "quantity": 1,
            "unit_price": product["price"],
        }
        body = {"customer_name": "Alice Example", "customer_email": EMAIL, "items": [item]}
        order = await self._ask("order", "POST", "/api/orders", key=secrets.token_hex(8), json=body)
        if order is not None:
            self.placed.append(order["id"])

    async def _cancel(self, _: dict[str, Any]) -> None:
        standing = [order for order in self.placed if order not in self.cancelled]
        if standing:
            order = standing[0]
            self.cancelled.add(
                order
            )  # added first, so that no other customer cancels the same order
            await self._ask("cancel", "PATCH", f"/api/orders/{order}/cancel")


@pytest.fixture
async def shop(pair: Fleet) -> AsyncIterator[Shop]:
    shop = Shop(pair)
    yield shop
    await shop.http.aclose()


async def restart(fleet: Fleet, shop: Shop, name: str) -> None:
    """Restart a process with SIGTERM and wait until it is ready."""
    await fleet.run("restart", name)

    async def ready() -> bool:
        return (await shop.http.get(f"{fleet.url(name)}/health/ready")).status_code == 200

    # Joining a group takes about 3 s on the embedded broker, and sometimes much longer.
    try:
        await until(ready, 60, f"{name} is ready")
    except AssertionError as late:
        raise AssertionError(f"{late}\n{fleet.log(name)[-4_000:]}") from None


async def remaining_stock(shop: Shop, products: list[dict[str, Any]]) -> int:
    return sum([await shop.remaining_stock(product["id"]) for product in products])


async def test_promise_60_rolling_restart_under_load_fails_no_request(
    pair: Fleet, shop: Shop
) -> None:
    products = (await shop.catalogue())[:5]
    for product in products:
        body = {"quantity": PIECES}
        await shop.http.patch(f"{shop.inventory}/{product['id']}/restock", json=body)
    before = await remaining_stock(shop, products)
    customers = Customers(pair, products)
    shopping = asyncio.create_task(customers.run())
    began = time.monotonic()
    for service in SERVICES:
        for name in (service, f"{service}-2"):
            await restart(pair, shop, name)
    customers.leave()
    await shopping
    took = time.monotonic() - began
    await customers.http.aclose()
    print(f"{took:.0f} s: {dict(customers.answered)}, repeated {dict(customers.http.repeated)}")

    assert customers.failed == [], "\n".join(customers.failed)
    assert customers.answered["order"] > 50
    assert customers.answered["cancel"] > 20
    orders = await shop.settled(EMAIL)
    assert Counter(order["id"] for order in orders) == Counter(customers.placed)  # each once
    cancelled_ids = {order["id"] for order in orders if order["status"] == "CANCELLED"}
    assert cancelled_ids == customers.cancelled

    async def conserved() -> bool:
        return await remaining_stock(shop, products) == before - (len(orders) - len(cancelled_ids))

    await until(conserved, 30, "stock plus sold is the stock of before")
    await one_mail_each(shop, orders, cancelled_ids)


async def one_mail_each(shop: Shop, orders: list[dict[str, Any]], cancelled_ids: set[str]) -> None:
    """Each order has one confirmation and each cancellation one mail."""
    expected = Counter(f"Your order {order['order_number']} is confirmed" for order in orders)
    expected += Counter(
        f"Your order {order['order_number']} was cancelled"
        for order in orders
        if order["id"] in cancelled_ids
    )

    async def mails() -> Counter[str]:
        return Counter(subject for subject in await shop.mails_of(EMAIL) if subject in expected)

    async def all_came() -> bool:
        return not expected - await mails()

    await until(all_came, 60, f"{expected.total()} mails", every=0.5)
    assert await mails() == expected
