"""E-mail addresses: orders with any valid address can be listed by it and are mailed to it."""

import secrets
from urllib.parse import quote

import pytest

from tests.fleet_under_test import GATEWAY, Fleet, Shop

LOCAL_PARTS = [
    *("sales/eu", "a/../b", "../x", "plus+tag", "100%", "%2F", "o'neil", "a.b.c", "a=b&c"),
    *("what?", "#1", "{x}|~", "^`", "$!*-_"),
]


async def read_back(fleet: Fleet, shop: Shop, address: str) -> dict[str, list[str]]:
    """Return the ids of a customer's orders, by the service that listed them."""
    admin = {"Authorization": f"Bearer {fleet.identity.token('admin')}"}
    path = f"/api/orders/user/{quote(address, safe='')}"
    found = {}
    for service in ("order-service", GATEWAY):
        answer = await shop.http.get(fleet.url(service) + path, headers=admin)
        assert answer.status_code == 200, f"{service} {path}: {answer.text}"
        found[service] = [order["id"] for order in answer.json()]
    return found


@pytest.mark.parametrize("local", LOCAL_PARTS)
async def test_order_is_listed_by_any_address_at_service_and_gateway(
    fleet: Fleet, shop: Shop, local: str
) -> None:
    address = f"{local}-{secrets.token_hex(4)}@example.com"
    product = await shop.stock(1)
    placed = await shop.place((product, 1), email=address)
    assert placed.status_code == 201, placed.text
    order = placed.json()["id"]
    assert await read_back(fleet, shop, address) == {"order-service": [order], GATEWAY: [order]}


async def test_all_forms_of_internationalised_domain_are_equal(fleet: Fleet, shop: Shop) -> None:
    name = f"idn-{secrets.token_hex(4)}"
    product = await shop.stock(5)
    ascii_form = f"{name}@xn--bcher-kva.example"
    forms = [f"{name}@bücher.example", f"{name}@BU\u0308CHER.example", ascii_form]
    orders = []
    for form in forms:
        placed = await shop.place((product, 1), email=form)
        assert placed.status_code == 201, placed.text
        assert placed.json()["customer_email"] == ascii_form
        orders.append(placed.json())
    ids = [order["id"] for order in reversed(orders)]
    for form in forms:
        assert await read_back(fleet, shop, form) == {"order-service": ids, GATEWAY: ids}
    await shop.confirmed_by_mail(orders, seconds=60)


@pytest.mark.parametrize("address", ["jürgen@example.com", "a@-ü.example", "a@example.com."])
async def test_invalid_address_returns_422_with_explanation(shop: Shop, address: str) -> None:
    refused = await shop.place(("p", 1), email=address)
    assert refused.status_code == 422
    [error] = refused.json()["detail"]
    assert error["loc"] == ["body", "customer_email"]
    assert "must" in error["msg"]
    assert "[" not in error["msg"]
