"""A fleet for the tests, with its own ports and folder, and a client of its APIs."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import httpx2
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from fleet.clients.identity import IdentityProvider
from fleet.clients.mailbox import Mailbox
from fleet.emulators.traces.store import Trace
from fleet.errors import FleetError
from fleet.processes.ports import free_port
from fleet.testing.temporary_servers import TemporaryServers
from fleet.tools.traces import fetch

ROOT = Path(__file__).parent.parent
PORTS = (
    "PRODUCT_SERVICE_PORT",
    "ORDER_SERVICE_PORT",
    "INVENTORY_SERVICE_PORT",
    "NOTIFICATION_SERVICE_PORT",
    "AI_SERVICE_PORT",
    "KAFKA_PORT",
    "KAFKA_UI_PORT",
    "POSTGRES_PORT",
    "MONGODB_PORT",
    "MAILBOX_SMTP_PORT",
    "MAILBOX_HTTP_PORT",
    "KEYCLOAK_PORT",
    "GATEWAY_PORT",
    "TRACES_PORT",
)
REPLICA_PORTS = (
    "PRODUCT_SERVICE_2_PORT",
    "ORDER_SERVICE_2_PORT",
    "INVENTORY_SERVICE_2_PORT",
    "NOTIFICATION_SERVICE_2_PORT",
    "AI_SERVICE_2_PORT",
    "GATEWAY_2_PORT",
    "VALKEY_PORT",
)
GATEWAY = "api-gateway"
SERVICES = (
    "product-service",
    "order-service",
    "inventory-service",
    "notification-service",
    GATEWAY,
    "ai-service",
)
SCRAPE_TOKEN = "scrape-token-of-the-tests"
STOREFRONT = "https://shop.example"  # an origin whose pages may call the gateway
NO_RATE_LIMIT = "1000000/minute"  # rate limits are tested elsewhere


def free_ports(names: Sequence[str] = PORTS) -> dict[str, int]:
    """Return a port for each variable, all different."""
    return {name: free_port() for name in names}


def url_of(service: str, ports: Mapping[str, int]) -> str:
    """Return the base URL of a service; `ports` are keyed by variable."""
    variable = service.removeprefix("api-").upper().replace("-", "_") + "_PORT"
    return f"http://127.0.0.1:{ports[variable]}"


class Fleet:
    """Commands of `python -m fleet`, as `make` gives them.

    Args:
        replicas: replicas of each service, 1 or 2; the second is named `<service>-2`.
    """

    def __init__(self, replicas: int = 1) -> None:
        self._servers = TemporaryServers()  # stopped even if this process is killed
        self._ports = free_ports(PORTS if replicas == 1 else PORTS + REPLICA_PORTS)
        self._environment = {
            **os.environ,
            **{name: str(port) for name, port in self._ports.items()},
            "FLEET_STATE": str(self._servers.folder),
            "REPLICAS": str(replicas),
            "RATE_LIMIT_DEFAULT": NO_RATE_LIMIT,
            "RATE_LIMIT_AI": NO_RATE_LIMIT,
            "METRICS_TOKEN": SCRAPE_TOKEN,
            "CORS_ORIGINS": STOREFRONT,
        }

    def __call__(self, *command: str) -> str:
        """Run a command and return its output. Raises AssertionError if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "fleet", *command],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"fleet {' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *command: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command that runs until it is stopped, with its output in a file."""
        return subprocess.Popen(
            [sys.executable, "-m", "fleet", *command],
            cwd=ROOT,
            env=self._environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    async def run(self, *command: str) -> str:
        """Run a command in a thread."""
        return await asyncio.to_thread(self, *command)

    @contextmanager
    def settings(self, changes: Mapping[str, str]) -> Iterator[None]:
        """Add settings for processes that are started in this context."""
        before = self._environment
        self._environment = {**before, **changes}
        try:
            yield
        finally:
            self._environment = before

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables that make `make` use this fleet."""
        return self._environment

    @property
    def ports(self) -> Mapping[str, int]:
        """Ports by variable."""
        return self._ports

    def url(self, service: str) -> str:
        return url_of(service, self._ports)

    @cached_property
    def identity(self) -> IdentityProvider:
        """Client of the identity provider, which caches tokens."""
        return IdentityProvider(f"http://localhost:{self._ports['KEYCLOAK_PORT']}")

    def logs(self) -> dict[str, str]:
        """Return all logs by name, including rotated files."""
        files = sorted((self._servers.folder / "logs").iterdir())
        return {path.name: path.read_text("utf-8", "replace") for path in files}

    def log(self, name: str) -> str:
        """Return the log of a process."""
        return (self._servers.folder / "logs" / f"{name}.log").read_text("utf-8", "replace")

    def pid(self, name: str) -> int:
        """Return the process id of a running program."""
        path = self._servers.folder / "run" / f"{name}.json"
        return int(json.loads(path.read_text("utf-8"))["pid"])

    def trace(self, trace_id: str) -> Trace | None:
        """Return the recorded spans of a trace, or None if there are none yet."""
        try:
            return fetch(self._ports["TRACES_PORT"], trace_id)
        except FleetError:
            return None

    async def traces(self, http: httpx2.AsyncClient) -> dict[str, str]:
        """Return the latest traces of the trace store by id."""
        url = f"{self.url('traces')}/api/traces"
        ids = [trace["trace_id"] for trace in (await http.get(url)).json()]
        return {each: (await http.get(f"{url}/{each}")).text for each in ids}

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self._ports['KAFKA_PORT']}"

    @property
    def mailbox(self) -> Mailbox:
        url = f"http://127.0.0.1:{self._ports['MAILBOX_HTTP_PORT']}"
        return Mailbox("127.0.0.1", self._ports["MAILBOX_SMTP_PORT"], url)

    def remove(self) -> None:
        self("reset")
        self._servers.remove()


async def until(
    condition: Callable[[], Awaitable[bool]], seconds: float, what: str, every: float = 0.1
) -> float:
    """Poll a condition and return the seconds it took. Raises AssertionError on timeout."""
    began = time.monotonic()
    while not await condition():
        took = time.monotonic() - began
        assert took < seconds, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(every)
    return time.monotonic() - began


class Shop:
    """Client of the fleet's APIs."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        # Close idle connections before uvicorn does (5 s): a POST could race with its close.
        limits = httpx2.Limits(max_connections=100, keepalive_expiry=3.0)
        self.http = httpx2.AsyncClient(timeout=15.0, limits=limits)
        self.orders = fleet.url("order-service") + "/api/orders"
        self.inventory = fleet.url("inventory-service") + "/api/inventory"
        self.products = fleet.url("product-service") + "/api/products"

    async def stock(self, quantity: int) -> str:
        """Create a product in inventory-service only. Return its id."""
        product = f"test-{secrets.token_hex(6)}"
        body = {"product_id": product, "product_name": f"Thing {product}", "quantity": quantity}
        created = await self.http.post(self.inventory, json=body)
        assert created.status_code == 201, created.text
        return product

    async def remaining_stock(self, product: str) -> int:
        item = (await self.http.get(f"{self.inventory}/{product}")).json()
        assert item["available_qty"] == item["quantity"] - item["reserved_qty"]
        return int(item["quantity"])

    async def place(
        self, *pieces: tuple[str, int], email: str, key: str | None = None, price: float = 9.99
    ) -> httpx2.Response:
        body = {
            "customer_name": "Alice Example",
            "customer_email": email,
            "items": [
                {"product_id": p, "product_name": f"Thing {p}", "quantity": n, "unit_price": price}
                for p, n in pieces
            ],
        }
        headers = {"Idempotency-Key": key} if key else {}
        return await self.http.post(self.orders, json=body, headers=headers)

    async def orders_of(self, email: str) -> list[dict[str, Any]]:
        """Return all orders of a customer, from all pages."""
        found: list[dict[str, Any]] = []
        url: str | None = f"{self.orders}/user/{email}?limit=100"
        while url:
            page = await self.http.get(url)
            assert page.status_code == 200, page.text
            found += page.json()
            following = page.links.get("next", {}).get("url")
            url = self.fleet.url("order-service") + following if following else None
        return found

    async def catalogue(self) -> list[dict[str, Any]]:
        """Return all products, from all pages."""
        found: list[dict[str, Any]] = []
        while True:
            number = len(found) // 100 + 1
            page = (await self.http.get(f"{self.products}?page_size=100&page={number}")).json()
            found += page["products"]
            if len(found) >= page["total"]:
                return found

    async def settled(self, email: str, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Wait until no order of the customer is PENDING. Return the orders."""
        orders: list[dict[str, Any]] = []

        async def none_pending() -> bool:
            orders[:] = await self.orders_of(email)
            return all(order["status"] != "PENDING" for order in orders)

        await until(none_pending, seconds, "no order is PENDING")
        return orders

    async def published(self, topic: str, ids: set[str], seconds: float = 60.0) -> list[str]:
        """Wait for the events of these orders on a topic. Return their keys in order."""
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=self.fleet.kafka, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        seen: list[str] = []
        try:
            async with asyncio.timeout(seconds):
                while not ids <= set(seen):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        keys = (record.key.decode() for record in records if record.key)
                        seen += [key for key in keys if key in ids]
        finally:
            await consumer.stop()
        return seen

    async def publish_raw(self, topic: str, value: bytes, key: bytes | None = None) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.fleet.kafka, acks="all")
        await producer.start()
        await producer.send_and_wait(topic, value, key=key)
        await producer.stop()

    async def dead_letters(self, topic: str) -> list[bytes]:
        """Return the current values on the dead-letter topic."""
        consumer = AIOKafkaConsumer(
            f"{topic}.dlq",
            bootstrap_servers=self.fleet.kafka,
            auto_offset_reset="earliest",
            group_id=None,
        )
        await consumer.start()
        try:
            found = await consumer.getmany(timeout_ms=1_000)
            return [record.value for records in found.values() for record in records]
        finally:
            await consumer.stop()

    async def mails_of(self, email: str) -> list[str]:
        """Return the subjects of the mails to an address."""
        found = await asyncio.to_thread(self.fleet.mailbox.messages, f"to:{email}")
        return [message["Subject"] for message in found]

    async def confirmed_by_mail(
        self, orders: list[dict[str, Any]], seconds: float, *, crashes: int = 0
    ) -> float:
        """Wait until each order has exactly one confirmation mail. Return the seconds it took.

        Args:
            crashes: number of crashes of notification-service. Each may duplicate one mail, which
                SMTP had accepted and which was not recorded yet (docs/order-flow.md).
        """
        email = orders[0]["customer_email"]

        async def one_each() -> bool:
            subjects = await self.mails_of(email)
            return all(f"Your order {o['order_number']} is confirmed" in subjects for o in orders)

        took = await until(one_each, seconds, f"{len(orders)} confirmation mails", every=0.3)
        subjects = Counter(await self.mails_of(email))
        counts = [subjects[f"Your order {order['order_number']} is confirmed"] for order in orders]
        assert sum(counts) - len(orders) <= crashes, f"{counts} mails for {len(orders)} orders"
        return took


def new_email(name: str) -> str:
    """Return an address that no other test uses."""
    return f"{name}-{secrets.token_hex(4)}@example.com"


def load(path: Path) -> Any:
    return json.loads(path.read_text())
