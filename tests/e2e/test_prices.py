"""What a product costs is the catalogue's word: through the gateway, and while it is away."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from tests.fleet_under_test import GATEWAY, Fleet, Shop, new_email

PRICE = 79.99


@pytest.fixture
async def whole_again(fleet: Fleet) -> AsyncIterator[None]:
    """The catalogue runs again before the next test begins."""
    yield
    fleet("up")


async def for_sale(shop: Shop, price: float = PRICE, pieces: int = 5) -> str:
    """A product of the catalogue that is in stock; its id."""
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


async def test_promise_8_nobody_sets_a_price_of_their_own(shop: Shop) -> None:
    """Promise 8."""
    product, email = await for_sale(shop), new_email("price")
    problem = refused(await shop.place((product, 1), email=email, price=0.01), 409, "price-changed")
    assert (problem["product_id"], problem["current_price"]) == (product, PRICE)
    assert await shop.orders_of(email) == []
    assert await shop.left(product) == 5
    placed = await shop.place((product, 2), email=email, price=PRICE)
    assert (placed.status_code, placed.json()["total_amount"]) == (201, 159.98)


async def test_an_admin_changes_a_price_between_two_orders_of_a_customer(
    fleet: Fleet, shop: Shop
) -> None:
    """At the gateway. The repeat of the first order is the first order, at its price."""
    product = await for_sale(shop)
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


async def test_a_deleted_product_is_not_sold_and_what_only_inventory_knows_is(shop: Shop) -> None:
    product, email = await for_sale(shop), new_email("deleted")
    assert (await shop.http.delete(f"{shop.products}/{product}")).status_code == 200
    problem = refused(
        await shop.place((product, 1), email=email, price=PRICE), 409, "product-unavailable"
    )
    assert problem["product_id"] == product
    assert await shop.left(product) == 5
    stocked = await shop.stock(5)
    assert (await shop.place((stocked, 1), email=email)).status_code == 201


async def test_without_the_catalogue_known_prices_count_and_others_are_503(
    fleet: Fleet, shop: Shop, whole_again: None
) -> None:
    known, new, email = await for_sale(shop), await for_sale(shop), new_email("away")
    assert (await shop.place((known, 1), email=email, price=PRICE)).status_code == 201
    await fleet.run("kill", "product-service")
    assert (await shop.place((known, 1), email=email, price=PRICE)).status_code == 201
    refused(await shop.place((known, 1), email=email, price=0.01), 409, "price-changed")
    answer = await shop.place((new, 1), email=email, price=PRICE, key=f"away-{new}")
    refused(answer, 503, "catalogue-unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert len(await shop.orders_of(email)) == 2
    assert (await shop.left(known), await shop.left(new)) == (3, 5)
    ready = await shop.http.get(f"{fleet.url('order-service')}/health/ready")
    assert ready.status_code == 200
    assert ready.json()["dependencies"]["product-service"]["status"] == "DEGRADED"

    await fleet.run("up")
    again = await shop.place((new, 1), email=email, price=PRICE, key=f"away-{new}")
    assert again.status_code == 201, "its key was not used up"


def wide(text: str) -> str:
    """The same letters and digits in full width (NFKC makes them ASCII again)."""
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
async def test_another_spelling_of_a_products_id_has_the_products_price(
    shop: Shop, spell: Callable[[str], str]
) -> None:
    """Its stock cannot be opened a second time, or it sells at the catalogue's price alone."""
    product, email = await for_sale(shop), new_email("spelling")
    other = spell(product)
    item = {"product_id": other, "product_name": "Test lamp", "quantity": 5}
    created = await shop.http.post(shop.inventory, json=item)
    assert created.status_code in (201, 409), created.text
    refused(await shop.place((other, 1), email=email, price=0.01), 409, "price-changed")
    assert (await shop.place((other, 1), email=email, price=PRICE)).status_code == 201
