"""ai-service in the fleet: confirmations do not wait for it, and each order gets one follow-up."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.fleet_under_test import ROOT, Fleet, Shop, load, new_email, until

# They run a fake model on the loopback interface, which containers cannot reach.
pytestmark = pytest.mark.local
CLIENTS = 16


class FailingModel:
    """A model server that hangs or returns 500."""

    def __init__(self) -> None:
        self.mode = "hang"
        self.asked = 0
        self.url = ""

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = next(x for x in head.split("\r\n") if x.startswith("content-length:"))
                await reader.readexactly(int(length.split(":")[1]))
                self.asked += 1
                if self.mode == "hang":
                    await reader.read()  # until the client disconnects
                writer.write(b"HTTP/1.1 500 X\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()
        writer.close()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()


@asynccontextmanager
async def ai_with_model(fleet: Fleet, model: FailingModel) -> AsyncIterator[None]:
    """Restart ai-service with this model; restore it afterwards."""
    settings = {"GROQ_API_KEY": "k", "GROQ_BASE_URL": model.url, "MODEL_BUDGET_SECONDS": "1"}
    with fleet.settings(settings):
        await fleet.run("restart", "ai-service")
        yield
    await fleet.run("restart", "ai-service")


async def place(shop: Shop, product: str, email: str, count: int) -> list[dict[str, Any]]:
    remaining_stock = iter(range(count))
    placed: list[dict[str, Any]] = []

    async def customer() -> None:
        for _ in remaining_stock:
            answer = await shop.place((product, 1), email=email)
            assert answer.status_code == 201, answer.text
            placed.append(answer.json())

    await asyncio.gather(*(customer() for _ in range(CLIENTS)))
    return placed


async def follow_ups(shop: Shop, email: str) -> Counter[str]:
    """Count the follow-ups of each order number."""
    subjects = await shop.mails_of(email)
    found = (s.removeprefix("Your order ").split(":")[0] for s in subjects if ": " in s)
    return Counter(found)


async def wait_for_follow_ups(shop: Shop, email: str, numbers: set[str], seconds: float) -> None:
    async def all_there() -> bool:
        return numbers <= set(await follow_ups(shop, email))

    await until(all_there, seconds, f"{len(numbers)} follow-ups", every=0.3)


async def test_promise_29_confirmations_are_on_time_in_every_model_state(
    fleet: Fleet, shop: Shop
) -> None:
    """Promise 29: the model hangs, then fails, ai-service is killed. One follow-up per order."""
    product, email, model = await shop.stock(1_000), new_email("ai"), FailingModel()
    async with model.serve(), ai_with_model(fleet, model):
        orders = await place(shop, product, email, 50)
        await fleet.run("kill", "ai-service")
        orders += await place(shop, product, email, 50)
        assert await shop.confirmed_by_mail(orders, seconds=20) < 20
        model.mode = "error"
        await fleet.run("restart", "ai-service")
        numbers = {order["order_number"] for order in orders}
        await wait_for_follow_ups(shop, email, numbers, 60)
        assert model.asked > 0
    assert set((await follow_ups(shop, email)).values()) == {1}


async def test_republished_order_gets_one_follow_up(shop: Shop) -> None:
    email = new_email("again")
    event = load(ROOT / "contracts/events/order-placed.v1.sample.json")
    numbers = []
    for name in ("twice", "once"):
        event |= {
            "event_id": str(uuid4()),
            "order_id": str(uuid4()),
            "order_number": f"ORD-{name}-{uuid4().hex[:8]}",
            "customer_email": email,
            "timestamp": datetime.now(UTC).isoformat(),
        }
        numbers.append(event["order_number"])
        for _ in range(2 if name == "twice" else 1):
            await shop.publish_raw("order-placed", json.dumps(event).encode(), key=b"same")
    await wait_for_follow_ups(shop, email, set(numbers), 40)
    assert await follow_ups(shop, email) == Counter(dict.fromkeys(numbers, 1))


async def test_assistant_names_new_product_and_not_deleted_product(
    fleet: Fleet, shop: Shop
) -> None:
    url = fleet.url("ai-service") + "/api/ai/chat"
    new = {
        "name": f"Zither {uuid4().hex[:6]}",
        "description": "Forty strings.",
        "price": 345.67,
        "category": "Music",
        "tags": ["zither"],
        "stock_quantity": 3,
    }
    created = (await shop.http.post(shop.products, json=new)).json()

    async def named() -> bool:
        answer = await shop.http.post(url, json={"message": "do you sell a zither?"})
        assert answer.status_code == 200
        products = [product["id"] for product in answer.json()["products"]]
        assert (created["id"] in products) == (f"{new['name']} (345.67)" in answer.json()["reply"])
        return created["id"] in products

    async def not_named() -> bool:
        return not await named()

    await until(named, 20, "the new product is named", every=0.2)
    await shop.http.delete(f"{shop.products}/{created['id']}")
    await until(not_named, 20, "the deleted product is not named", every=0.2)
