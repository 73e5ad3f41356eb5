"""Load generator: customers who order, retry, cancel, time out and read, and an admin.

Each customer has its own seeded random generator, so a seed repeats their choices. The responses
depend on the fleet.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.judge.history import Attempt, History, Kind, Outcome, outcome_of
from tests.judge.plan import MARKER

PATIENCE = 8.0  # request timeout of a customer in seconds; the deadline of placing is 3
_TRIES = 12  # attempts for one intended order
_THINK = (0.05, 0.4)  # seconds between two actions of a customer


@dataclass(frozen=True, slots=True)
class Product:
    """A product that customers order."""

    id: str
    name: str
    price: str


@dataclass(slots=True)
class Shop:
    """State shared by all customers.

    Attributes:
        now: returns the seconds since the start of the run.
        token: returns a token of a demo user; waits while the identity provider is unavailable.
        placed: ids of the orders for which the user received 201.
    """

    gateways: Sequence[str]
    products: Sequence[Product]
    history: History
    now: Callable[[], float]
    token: Callable[[str], Awaitable[str]]
    placed: dict[str, list[str]] = field(default_factory=lambda: {"alice": [], "bob": []})
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Person:
    """One client of the gateway.

    Args:
        name: a demo user; several clients may use the same one.
    """

    def __init__(self, shop: Shop, name: str, number: int, seed: int) -> None:
        self.shop, self.name = shop, name
        self.rng = random.Random(f"person {seed} {number}")
        self._base = shop.gateways[number % len(shop.gateways)]
        # Close idle connections before uvicorn does (5 s): a POST could race with its close.
        limits = httpx2.Limits(max_connections=4, keepalive_expiry=3.0)
        self._http = httpx2.AsyncClient(base_url=self._base, limits=limits)

    async def live(self) -> None:
        """Act until the run ends."""
        async with self._http:
            while not self.shop.over.is_set():
                await self.act()
                await asyncio.sleep(self.rng.uniform(*_THINK))

    async def act(self) -> None:
        raise NotImplementedError

    async def ask(
        self,
        attempt: Attempt,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> httpx2.Response | None:
        """Send one request and record its outcome."""
        token = await self.shop.token(self.name)
        attempt.invoked = self.shop.now()
        try:
            async with asyncio.timeout(patience):
                answer: httpx2.Response | None = await self._http.request(
                    method,
                    path,
                    json=json,
                    headers={"Authorization": f"Bearer {token}", **(headers or {})},
                    timeout=patience,
                )
        except (httpx2.TransportError, TimeoutError):
            answer = None
        attempt.ended = self.shop.now()
        if answer is not None:
            attempt.status, attempt.problem = answer.status_code, problem_of(answer)
        attempt.outcome = outcome_of(attempt.status, attempt.problem, attempt.kind)
        return answer

    def attempt(self, kind: Kind, **fields: Any) -> Attempt:
        return Attempt(kind, self.name, self.shop.now(), **fields)


class Customer(Person):
    """A customer, who mostly orders."""

    async def act(self) -> None:
        doing = self.rng.choices(
            (self.order, self.cancel, self.look, self.read, self.spy), (60, 14, 8, 14, 4)
        )[0]
        await doing()

    async def order(self) -> None:
        """Place one order: with a key retry until the outcome is known, without a key send once."""
        count = self.rng.choices((1, 2, 3), (6, 3, 1))[0]
        chosen = self.rng.sample(list(self.shop.products), count)
        basket = [(product, self.rng.choice((1, 1, 1, 2, 3))) for product in chosen]
        intent = f"Judge {secrets.token_hex(8)}"
        if self.rng.random() < 0.1:
            intent += f" {MARKER}"  # the fault `content-refused` refuses mails with this word
        key = secrets.token_hex(8) if self.rng.random() < 0.8 else ""
        hurried = self.rng.random() < 0.1
        for number in range(_TRIES if key else 1):
            patience = self.rng.uniform(0.02, 0.3) if hurried and not number else PATIENCE
            attempt = await self._place(intent, key, basket, patience)
            if attempt.outcome is Outcome.OK or not _is_retryable(attempt):
                break
            await asyncio.sleep(self.rng.uniform(0.1, 0.8))
        if key and self.rng.random() < 0.15:  # an impatient customer repeats a successful request
            await self._place(intent, key, basket, PATIENCE)

    async def _place(
        self, intent: str, key: str, basket: Sequence[tuple[Product, int]], patience: float
    ) -> Attempt:
        pieces = {product.id: count for product, count in basket}
        body = {
            "customer_name": intent,
            "customer_email": f"{self.name}@example.com",
            "items": [
                {
                    "product_id": product.id,
                    "product_name": product.name,
                    "quantity": count,
                    "unit_price": float(product.price),
                }
                for product, count in basket
            ],
        }
        attempt = self.attempt(Kind.PLACE, intent=intent, key=key, pieces=pieces)
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self.ask(
            attempt, "POST", "/api/orders", json=body, headers=headers, patience=patience
        )
        if answer is not None and answer.status_code == 201:
            attempt.body, attempt.order_id = answer.text, answer.json()["id"]
            if attempt.order_id not in self.shop.placed[self.name]:
                self.shop.placed[self.name].append(attempt.order_id)
        self.shop.history.add(attempt)
        return attempt

    async def cancel(self) -> None:
        """Cancel a recent order, and retry until the outcome is known."""
        order_id = self._recent(self.name)
        for _ in range(_TRIES if order_id else 0):
            attempt = self.attempt(Kind.CANCEL, order_id=order_id)
            await self.ask(attempt, "PATCH", f"/api/orders/{order_id}/cancel")
            self.shop.history.add(attempt)
            if attempt.outcome is not Outcome.UNKNOWN or self.rng.random() < 0.1:
                return
            await asyncio.sleep(self.rng.uniform(0.1, 0.8))

    async def look(self) -> None:
        attempt = self.attempt(Kind.LIST)
        answer = await self.ask(attempt, "GET", "/api/orders/me?limit=100")
        if answer is not None and answer.status_code == 200:
            attempt.owners = sorted({order["customer_email"] for order in answer.json()})
        self.shop.history.add(attempt)

    async def read(self) -> None:
        await self._read(Kind.READ, self._recent(self.name))

    async def spy(self) -> None:
        await self._read(Kind.SPY, self._recent("bob" if self.name == "alice" else "alice"))

    async def _read(self, kind: Kind, order_id: str) -> None:
        if not order_id:
            return
        attempt = self.attempt(kind, order_id=order_id)
        answer = await self.ask(attempt, "GET", f"/api/orders/{order_id}")
        if answer is not None and answer.status_code == 200:
            attempt.owners = [answer.json()["customer_email"]]
        self.shop.history.add(attempt)

    def _recent(self, name: str) -> str:
        known = self.shop.placed[name][-20:]
        return self.rng.choice(known) if known else ""


class Admin(Person):
    """An admin, who ships orders and restocks products."""

    async def act(self) -> None:
        await self.rng.choices((self.ship, self.restock), (3, 2))[0]()

    async def ship(self) -> None:
        """Ship an order, in a race with customers who may cancel it."""
        recent = self.shop.placed["alice"][-30:] + self.shop.placed["bob"][-30:]
        if not recent:
            return
        order_id = self.rng.choice(recent)
        for kind, status in ((Kind.SHIP, "SHIPPED"), (Kind.DELIVER, "DELIVERED")):
            attempt = self.attempt(kind, order_id=order_id)
            await self.ask(
                attempt, "PATCH", f"/api/orders/{order_id}/status", json={"status": status}
            )
            self.shop.history.add(attempt)
            if attempt.outcome is not Outcome.OK or self.rng.random() < 0.5:
                return

    async def restock(self) -> None:
        """Restock a product, and retry with the same key until the outcome is known."""
        product = self.rng.choice(list(self.shop.products))
        pieces, key = {product.id: self.rng.randint(1, 15)}, f"restock-{secrets.token_hex(8)}"
        for _ in range(_TRIES):
            attempt = self.attempt(Kind.RESTOCK, key=key, pieces=pieces)
            await self.ask(
                attempt,
                "PATCH",
                f"/api/inventory/{product.id}/restock",
                json={"quantity": pieces[product.id]},
                headers={"Idempotency-Key": key},
            )
            self.shop.history.add(attempt)
            if attempt.outcome is Outcome.OK:
                return
            await asyncio.sleep(self.rng.uniform(0.1, 0.8))


def _is_retryable(attempt: Attempt) -> bool:
    if attempt.outcome is Outcome.UNKNOWN or attempt.status == 503:
        return True
    return attempt.status == 409 and attempt.problem.endswith("/request-in-progress")


def problem_of(answer: httpx2.Response) -> str:
    """Return the `type` of a problem document, or an empty string for any other response."""
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return ""
    try:
        return str(answer.json().get("type", ""))
    except ValueError:
        return ""
