"""Prices come from the catalogue: through the gateway, and during an outage of the catalogue."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from tests.fleet_under_test import GATEWAY, Fleet, Shop, new_email

PRICE = 79.99


@pytest.fixture
async def restore_catalogue(fleet: Fleet) -> AsyncIterator[None]:
    """Start the catalogue again before the next test."""
    yield
    fleet("up")


async def create_product(shop: Shop, price: float = PRICE, pieces: int = 5) -> str:
    """Create a product in the catalogue and its stock. Return its id."""
    body = {
        "name": "Test lamp",
        "description": "",
        "price": price,
        "category": "Test",
        "stock_quantity": pieces,
    }
    created = await shop.http.post(shop.products, json=body)
    assert created.status_code == 201, created.text
    product_id: str = created.json()["id"]
    item = {"product_id": product_id, "product_name": "Test lamp", "quantity": pieces}
    assert (await shop.http.post(shop.inventory, json=item)).status_code == 201
    return product_id


def refused(answer: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"/problems/{name}"
    return problem


async def test_promise_8_order_with_own_price_is_refused(shop: Shop) -> None:
    """Promise 8."""
    product, email = await create_product(shop), new_email("price")
    problem = refused(await shop.place((product, 1), email=email, price=0.01), 409, "price-changed")
    assert (problem["product_id"], problem["current_price"]) == (product, PRICE)
    assert await shop.orders_of(email) == []
    assert await shop.remaining_stock(product) == 5
    placed = await shop.place((product, 2), email=email, price=PRICE)
    assert (placed.status_code, placed.json()["total_amount"]) == (201, 159.98)


async def test_price_change_applies_to_next_order_and_not_to_replay(
    fleet: Fleet, shop: Shop
) -> None:
    """At the gateway. A replay of the first order returns it with its original price."""
    product = await create_product(shop)
    alice, admin = (
        {"Authorization": f"Bearer {fleet.identity.token(user)}"} for user in ("alice", "admin")
    )
    item = {"product_id": product, "product_name": "Test lamp", "quantity": 1}
    url = fleet.url(GATEWAY)

    async def order(price: float, key: str) -> httpx2.Response:
        body = {
            "customer_name": "Alice Example",
            "customer_email": "alice@example.com",
            "items": [{**item, "unit_price": price}],
        }
        headers = {**alice, "Idempotency-Key": f"{key}-{product}"}
        return await shop.http.post(f"{url}/api/orders", json=body, headers=headers)

    first = await order(PRICE, "first")
    assert first.status_code == 201, first.text
    changed = await shop.http.put(
        f"{url}/api/products/{product}", json={"price": 84.5}, headers=admin
    )
    assert changed.status_code == 200
    problem = refused(await order(PRICE, "second"), 409, "price-changed")
    assert problem["current_price"] == 84.5
    repeated = await order(PRICE, "first")
    assert (repeated.status_code, repeated.json()) == (201, first.json())
    assert (await order(84.5, "second")).status_code == 201


async def test_deleted_product_is_refused_and_inventory_only_product_is_sold(shop: Shop) -> None:
    product, email = await create_product(shop), new_email("deleted")
    assert (await shop.http.delete(f"{shop.products}/{product}")).status_code == 200
    problem = refused(
        await shop.place((product, 1), email=email, price=PRICE), 409, "product-unavailable"
    )
    assert problem["product_id"] == product
    assert await shop.remaining_stock(product) == 5
    stocked = await shop.stock(5)
    assert (await shop.place((stocked, 1), email=email)).status_code == 201


async def test_catalogue_outage_uses_cached_prices_else_returns_503(
    fleet: Fleet, shop: Shop, restore_catalogue: None
) -> None:
    known, new, email = await create_product(shop), await create_product(shop), new_email("away")
    assert (await shop.place((known, 1), email=email, price=PRICE)).status_code == 201
    await fleet.run("kill", "product-service")
    assert (await shop.place((known, 1), email=email, price=PRICE)).status_code == 201
    refused(await shop.place((known, 1), email=email, price=0.01), 409, "price-changed")
    answer = await shop.place((new, 1), email=email, price=PRICE, key=f"away-{new}")
    refused(answer, 503, "catalogue-unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert len(await shop.orders_of(email)) == 2
    assert (await shop.remaining_stock(known), await shop.remaining_stock(new)) == (3, 5)
    ready = await shop.http.get(f"{fleet.url('order-service')}/health/ready")
    assert ready.status_code == 200
    assert ready.json()["dependencies"]["product-service"]["status"] == "DEGRADED"

    await fleet.run("up")
    again = await shop.place((new, 1), email=email, price=PRICE, key=f"away-{new}")
    assert again.status_code == 201, "its key was not used up"


def wide(text: str) -> str:
    """Return the text in full-width characters, which NFKC maps to ASCII."""
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: f"{text} ",
        lambda text: f"\u00a0{text}",
        lambda text: f"\u200b{text}",
        lambda text: f"{text[:9]}\u2060{text[9:]}\ufe0f",
        lambda text: f"{text[:9]} {text[9:]}",
        str.upper,
        wide,
    ],
    ids=["space", "no-break space", "zero width", "joiner", "space inside", "upper case", "wide"],
)
async def test_variant_of_product_id_has_price_of_product(
    shop: Shop, spell: Callable[[str], str]
) -> None:
    """A variant of the id either cannot get stock, or sells at the catalogue's price only."""
    product, email = await create_product(shop), new_email("spelling")
    other = spell(product)
    item = {"product_id": other, "product_name": "Test lamp", "quantity": 5}
    created = await shop.http.post(shop.inventory, json=item)
    assert created.status_code in (201, 409), created.text
    refused(await shop.place((other, 1), email=email, price=0.01), 409, "price-changed")
    assert (await shop.place((other, 1), email=email, price=PRICE)).status_code == 201
