"""The load: customers who order, repeat, cancel, lose patience and look around; and an admin.

Each customer has a random generator of its own, seeded, so that a seed replays their choices; what
they meet is up to the fleet.
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

PATIENCE = 8.0  # seconds until a customer gives an answer up; placing has 3
_TRIES = 12  # attempts for one wish
_THINK = (0.05, 0.4)  # seconds between two things that one customer does


@dataclass(frozen=True, slots=True)
class Product:
    """Something to buy, as its page shows it."""

    id: str
    name: str
    price: str


@dataclass(slots=True)
class Shop:
    """What everybody shares.

    Attributes:
        now: seconds since the trial began.
        token: of a demo user; waits while nobody gives one.
        placed: ids of the orders that a caller has got a 201 for.
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
        name: a demo user; several persons may be the same one.
    """

    def __init__(self, shop: Shop, name: str, number: int, seed: int) -> None:
        self.shop, self.name = shop, name
        self.chance = random.Random(f"person {seed} {number}")
        self._base = shop.gateways[number % len(shop.gateways)]
        # Idle connections are dropped before uvicorn does it (5 s): else a POST meets the closing.
        limits = httpx2.Limits(max_connections=4, keepalive_expiry=3.0)
        self._http = httpx2.AsyncClient(base_url=self._base, limits=limits)

    async def live(self) -> None:
        """One thing after the other until the trial is over."""
        async with self._http:
            while not self.shop.over.is_set():
                await self.act()
                await asyncio.sleep(self.chance.uniform(*_THINK))

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
        """Send one request and record it, whatever comes of it."""
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
    """Orders, mostly."""

    async def act(self) -> None:
        doing = self.chance.choices(
            (self.order, self.cancel, self.look, self.read, self.spy), (60, 14, 8, 14, 4)
        )[0]
        await doing()

    async def order(self) -> None:
        """One wish; with a key repeated until its answer is known, without it sent once."""
        count = self.chance.choices((1, 2, 3), (6, 3, 1))[0]
        chosen = self.chance.sample(list(self.shop.products), count)
        basket = [(product, self.chance.choice((1, 1, 1, 2, 3))) for product in chosen]
        wish = f"Judge {secrets.token_hex(8)}"
        if self.chance.random() < 0.1:
            wish += f" {MARKER}"  # a mail server may refuse a mail with this name in it
        key = secrets.token_hex(8) if self.chance.random() < 0.8 else ""
        hurried = self.chance.random() < 0.1
        for number in range(_TRIES if key else 1):
            patience = self.chance.uniform(0.02, 0.3) if hurried and not number else PATIENCE
            attempt = await self._place(wish, key, basket, patience)
            if attempt.outcome is Outcome.OK or not _may_try_again(attempt):
                break
            await asyncio.sleep(self.chance.uniform(0.1, 0.8))
        if key and self.chance.random() < 0.15:  # an impatient finger on the button
            await self._place(wish, key, basket, PATIENCE)

    async def _place(
        self, wish: str, key: str, basket: Sequence[tuple[Product, int]], patience: float
    ) -> Attempt:
        pieces = {product.id: count for product, count in basket}
        body = {
            "customer_name": wish,
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
        attempt = self.attempt(Kind.PLACE, wish=wish, key=key, pieces=pieces)
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
        """One of the last orders; again until the answer is known."""
        order_id = self._recent(self.name)
        for _ in range(_TRIES if order_id else 0):
            attempt = self.attempt(Kind.CANCEL, order_id=order_id)
            await self.ask(attempt, "PATCH", f"/api/orders/{order_id}/cancel")
            self.shop.history.add(attempt)
            if attempt.outcome is not Outcome.UNKNOWN or self.chance.random() < 0.1:
                return
            await asyncio.sleep(self.chance.uniform(0.1, 0.8))

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
        return self.chance.choice(known) if known else ""


class Admin(Person):
    """Ships what was ordered and fills the shelves."""

    async def act(self) -> None:
        await self.chance.choices((self.ship, self.restock), (3, 2))[0]()

    async def ship(self) -> None:
        """Racing the customers, who may cancel the same order."""
        recent = self.shop.placed["alice"][-30:] + self.shop.placed["bob"][-30:]
        if not recent:
            return
        order_id = self.chance.choice(recent)
        for kind, status in ((Kind.SHIP, "SHIPPED"), (Kind.DELIVER, "DELIVERED")):
            attempt = self.attempt(kind, order_id=order_id)
            await self.ask(
                attempt, "PATCH", f"/api/orders/{order_id}/status", json={"status": status}
            )
            self.shop.history.add(attempt)
            if attempt.outcome is not Outcome.OK or self.chance.random() < 0.5:
                return

    async def restock(self) -> None:
        """With one key until the answer is known."""
        product = self.chance.choice(list(self.shop.products))
        pieces, key = {product.id: self.chance.randint(1, 15)}, f"restock-{secrets.token_hex(8)}"
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
            await asyncio.sleep(self.chance.uniform(0.1, 0.8))


def _may_try_again(attempt: Attempt) -> bool:
    if attempt.outcome is Outcome.UNKNOWN or attempt.status == 503:
        return True
    return attempt.status == 409 and attempt.problem.endswith("/request-in-progress")


def problem_of(answer: httpx2.Response) -> str:
    """The `type` of a problem document; empty for any other answer."""
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return ""
    try:
        return str(answer.json().get("type", ""))
    except ValueError:
        return ""
