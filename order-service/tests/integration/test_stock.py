"""What inventory said of plenty a moment ago, and what follows when it is no longer true."""

from collections import Counter
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from app.clients.inventory_client import InventoryClient, Refused
from app.config import Settings
from app.errors import ProductUnknown
from app.main import create_app
from app.metrics import OrderMetrics
from app.services.availability import PLENTY, Stock
from chassis.http_client.deadline import Deadline
from tests.conftest import order_of, running
from tests.fakes import FakeInventory


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Shop:
    """A Stock of its own over the stand-in's HTTP, its clock, and what it asks."""

    def __init__(self, inventory: FakeInventory, settings: Settings) -> None:
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self._client = InventoryClient(inventory.url, self.registry)
        metrics = OrderMetrics(self.registry)
        self._stock = Stock(self._client, settings, metrics, self.clock)

    async def has(self, quantity: int = 1, product: str = "p") -> bool:
        """As an order does: by what is remembered, or else by asking."""
        if self._stock.has_plenty(product, quantity):
            return True
        return (await self._stock.check(product, quantity, Deadline.after(3))).in_stock

    async def reduce(self, **pieces: int) -> Refused | None:
        return await self._stock.reduce(uuid4(), pieces, Deadline.after(3))

    def count(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("order_stock_checks_total", {"outcome": outcome})

    async def close(self) -> None:
        await self._client.close()


@pytest.fixture
async def shop(inventory: FakeInventory, settings: Settings) -> Any:
    shop = Shop(inventory, settings)
    yield shop
    await shop.close()


async def test_a_little_of_plenty_is_asked_for_once_a_second(
    shop: Shop, inventory: FakeInventory
) -> None:
    for _ in range(5):
        assert await shop.has()
    assert inventory.calls["check"] == 1
    shop.clock.now += 1.001
    assert await shop.has()
    assert inventory.calls["check"] == 2
    assert (shop.count("asked"), shop.count("remembered")) == (2, 4)


async def test_what_is_not_plenty_is_asked_for_each_time(
    shop: Shop, inventory: FakeInventory
) -> None:
    inventory.stock["p"] = 3 * PLENTY
    for quantity in (3, 3, 4, 4, 4, 3):
        assert await shop.has(quantity)
    assert inventory.calls["check"] == 4  # the first, and each four
    inventory.stock["p"] = PLENTY - 1
    assert not await shop.has(3 * PLENTY)
    for _ in range(3):
        assert await shop.has()
    assert inventory.calls["check"] == 8


async def test_a_reduction_tells_what_is_left(shop: Shop, inventory: FakeInventory) -> None:
    inventory.stock["p"] = PLENTY + 1
    assert await shop.reduce(p=1, q=1) is None
    assert await shop.has()
    assert inventory.calls["check"] == 0
    assert await shop.reduce(p=1) is None  # and that it is no longer plenty
    await shop.has()
    assert inventory.calls["check"] == 1


async def test_after_a_refusal_inventory_is_asked_again(
    shop: Shop, inventory: FakeInventory
) -> None:
    await shop.has()
    inventory.stock["p"] = 0  # by somebody else
    assert await shop.has()
    assert isinstance(await shop.reduce(p=1), Refused)
    assert not await shop.has()


async def test_what_inventory_does_not_know_is_not_remembered(
    shop: Shop, inventory: FakeInventory
) -> None:
    for _ in range(2):
        with pytest.raises(ProductUnknown):
            await shop.has(product="never-heard-of")
    assert inventory.calls["check"] == 2


async def test_a_reduction_that_tells_nothing_is_a_reduction(
    shop: Shop, inventory: FakeInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_item", lambda product: {"product": product})
    assert await shop.reduce(p=1) is None
    await shop.has()
    assert inventory.calls["check"] == 1


async def test_stock_that_went_elsewhere_is_refused_by_the_reduction(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    """The refusal is the same, nothing stands, and the key may try again."""

    async def place(key: str) -> httpx2.Response:
        headers = {"Idempotency-Key": key}
        return await client.post("/api/orders", json=order_of(("p", 1)), headers=headers)

    assert (await place("first")).status_code == 201
    inventory.stock["p"] = 0
    refused = await place("second")
    assert (refused.status_code, refused.json()["type"]) == (400, "/problems/insufficient-stock")
    assert inventory.calls == Counter(check=1, reduce=2)
    states = await sql.fetch("SELECT status, stock_debt FROM orders ORDER BY created_at")
    assert [tuple(row) for row in states] == [("CONFIRMED", False), ("CANCELLED", False)]
    assert (await place("third")).status_code == 400
    assert inventory.calls == Counter(check=2, reduce=2)  # asked, and nothing was stored for it
    inventory.stock["p"] = 1
    assert (await place("second")).status_code == 201


async def test_without_memory_every_order_asks(
    settings: Settings, inventory: FakeInventory, sql: Any
) -> None:
    forgetful = settings.model_copy(update={"stock_memory_seconds": 0.0})
    async with running(create_app(forgetful)) as client:
        for _ in range(3):
            assert (await client.post("/api/orders", json=order_of(("p", 1)))).status_code == 201
    assert inventory.calls["check"] == 3
