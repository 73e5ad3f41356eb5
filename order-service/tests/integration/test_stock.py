"""The stock check before an order is stored, and the authoritative reduction."""

import asyncio
from collections import Counter
from typing import Any

import httpx2
import pytest

from tests.conftest import order_of
from tests.fakes import FakeCatalogue, FakeInventory


async def test_each_order_checks_the_stock(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    for _ in range(3):
        assert (await client.post("/api/orders", json=order_of(("p", 1)))).status_code == 201
    assert inventory.calls == Counter(check=3, reduce=3)


async def test_reduction_with_another_response_body_places_the_order(
    client: httpx2.AsyncClient, inventory: FakeInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_item", lambda product: {"product": product})
    assert (await client.post("/api/orders", json=order_of(("p", 1)))).status_code == 201


async def test_stock_sold_after_the_check_is_refused_by_the_reduction(
    client: httpx2.AsyncClient, inventory: FakeInventory, catalogue: FakeCatalogue, sql: Any
) -> None:
    """The response equals that of the check, no order remains, the key is reusable."""

    async def place(key: str) -> httpx2.Response:
        headers = {"Idempotency-Key": key}
        return await client.post("/api/orders", json=order_of(("p", 1)), headers=headers)

    async def sell_out_after_the_check() -> None:
        while not inventory.calls["check"]:
            await asyncio.sleep(0.001)
        inventory.stock["p"] = 0

    catalogue.before_sending = sell_out_after_the_check
    refused = await place("first")
    assert (refused.status_code, refused.json()["type"]) == (400, "/problems/insufficient-stock")
    assert inventory.calls == Counter(check=1, reduce=1)
    states = await sql.fetch("SELECT status, stock_debt FROM orders")
    assert [tuple(row) for row in states] == [("CANCELLED", False)]
    assert (await place("second")).status_code == 400
    assert inventory.calls == Counter(check=2, reduce=1)  # refused by the check, nothing stored
    inventory.stock["p"] = 1
    assert (await place("first")).status_code == 201
