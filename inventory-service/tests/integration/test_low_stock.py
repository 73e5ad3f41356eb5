"""One inventory-low event for each fall of an available quantity below ten."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from fastapi import FastAPI

from tests.stock import Shop, path_of

Change = Callable[[Shop, str], Awaitable[httpx2.Response]]

FALLS: dict[str, Change] = {
    "reduce": lambda shop, p: shop.move("reduce", p, 11),
    "reduce several": lambda shop, p: shop.reduce({p: 11}),
    "put quantity": lambda shop, p: shop.put(p, quantity=9),
    "put reserved": lambda shop, p: shop.put(p, reserved_qty=11),
    "put both": lambda shop, p: shop.put(p, quantity=30, reserved_qty=21),
}
NO_FALLS: dict[str, Change] = {
    "to ten": lambda shop, p: shop.move("reduce", p, 10),
    "put to ten": lambda shop, p: shop.put(p, quantity=10),
    "refused": lambda shop, p: shop.move("reduce", p, 21),
    "renamed": lambda shop, p: shop.put(p, product_name="Q"),
    "deleted": lambda shop, p: shop.client.delete(path_of(p)),
}


@pytest.mark.parametrize("fall", FALLS.values(), ids=FALLS)
async def test_fall_below_the_threshold_writes_one_event(shop: Shop, fall: Change) -> None:
    product = await shop.stock(20)
    assert (await fall(shop, product)).status_code == 200
    [payload] = await shop.low_events(product)
    event = json.loads(payload)
    assert (event["event_type"], event["product_id"]) == ("INVENTORY_LOW", product)
    assert (event["available_qty"], event["threshold"]) == (9, 10)
    await shop.move("reduce", product, 1)  # still below: no new crossing
    await shop.put(product, reserved_qty=0, quantity=3)
    assert len(await shop.low_events(product)) == 1


@pytest.mark.parametrize("change", NO_FALLS.values(), ids=NO_FALLS)
async def test_change_without_a_crossing_writes_no_event(shop: Shop, change: Change) -> None:
    product = await shop.stock(20)
    await change(shop, product)
    assert await shop.low_events(product) == []


async def test_item_created_below_the_threshold_writes_no_event(shop: Shop) -> None:
    product = await shop.stock(9)
    await shop.move("reduce", product, 1)
    assert await shop.low_events(product) == []


@pytest.mark.parametrize("up", ["restock", "put", "reverse"])
async def test_second_fall_after_a_rise_writes_a_second_event(shop: Shop, up: str) -> None:
    product = await shop.stock(20)
    await shop.reduce({product: 15}, f"{product}-1")
    match up:
        case "restock":
            await shop.move("restock", product, 15)
        case "put":
            await shop.put(product, quantity=20)
        case _:
            await shop.reverse(f"{product}-1")
    assert len(await shop.low_events(product)) == 1
    await shop.move("reduce", product, 15)
    assert len(await shop.low_events(product)) == 2


async def test_replayed_key_writes_no_second_event(shop: Shop) -> None:
    product = await shop.stock(20)
    for _ in range(3):
        await shop.reduce({product: 15}, f"{product}-1")
    assert len(await shop.low_events(product)) == 1


async def test_refused_reduction_writes_no_event(shop: Shop) -> None:
    a, b = await shop.stock(20), await shop.stock(1)
    assert (await shop.reduce({a: 15, b: 2})).status_code == 400
    assert await shop.low_events(a) == []


TAKES: dict[str, Callable[[Shop, str, int], Awaitable[httpx2.Response]]] = {
    "with a key": lambda shop, p, n: shop.reduce({p: n}),
    "without": lambda shop, p, n: shop.move("reduce", p, n),
}


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
async def test_two_hundred_concurrent_buyers_write_one_event(
    shop: Shop, app: FastAPI, take: Callable[[Shop, str, int], Awaitable[httpx2.Response]]
) -> None:
    """One event under concurrency; its quantity is that of the reduction that crossed."""

    def crossings() -> float:
        return float(app.state.metrics.low_crossings._value.get())

    product, before = await shop.stock(205), crossings()
    await asyncio.gather(*(take(shop, product, 1) for _ in range(200)))
    [payload] = await shop.low_events(product)
    assert json.loads(payload)["available_qty"] == 9
    assert crossings() == before + 1


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
async def test_concurrent_changes_write_one_event_per_fall(
    shop: Shop, take: Callable[[Shop, str, int], Awaitable[httpx2.Response]]
) -> None:
    """Count the falls by replaying the ledger in order."""
    product = await shop.stock(14)

    async def take_and_bring_back(pieces: int) -> None:
        for _ in range(12):
            if (await take(shop, product, pieces)).status_code == 200:
                await shop.move("restock", product, pieces)

    await asyncio.gather(*(take_and_bring_back(1 + number % 5) for number in range(10)))
    rows = await shop.sql(
        "SELECT delta FROM stock_movements WHERE product_id = $1 ORDER BY at", product
    )
    quantity, falls = 0, 0
    for row in rows:
        quantity, before = quantity + row["delta"], quantity
        falls += quantity < 10 <= before
    assert quantity == 14
    assert falls > 1
    assert len(await shop.low_events(product)) == falls
