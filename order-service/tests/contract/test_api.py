"""The contract of /api/orders: statuses and bodies of every call."""

from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.conftest import order_of
from tests.fakes import FakeInventory

ORDER = {
    "id",
    "order_number",
    "customer_name",
    "customer_email",
    "total_amount",
    "status",
    "items",
    "created_at",
    "updated_at",
}
ITEM = {"id", "product_id", "product_name", "quantity", "unit_price", "total_price"}


def problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    return body


async def place(client: httpx2.AsyncClient, *pieces: tuple[str, int], **more: Any) -> Any:
    response = await client.post("/api/orders", json=order_of(*pieces, **more))
    assert response.status_code == 201, response.text
    return response.json()


async def test_placed_order_is_confirmed(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    order = await place(client, ("p", 2), ("q", 1))
    assert order.keys() == ORDER
    assert all(item.keys() == ITEM for item in order["items"])
    assert str(UUID(order["id"])) == order["id"]
    assert order["status"] == "CONFIRMED"
    assert order["total_amount"] == 31.5
    assert [item["total_price"] for item in order["items"]] == [21.0, 10.5]
    assert order["created_at"].endswith("Z")
    assert inventory.stock == {"p": 998, "q": 999}


async def test_order_is_found_immediately_after_its_201(
    client: httpx2.AsyncClient,
) -> None:
    for _ in range(100):
        order = await place(client, ("p", 1))
        assert (await client.get(f"/api/orders/{order['id']}")).json() == order


async def test_insufficient_stock_is_400(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    inventory.stock["p"] = 1
    body = problem(await client.post("/api/orders", json=order_of(("q", 1), ("p", 2))), 400)
    assert body["detail"].startswith("Insufficient stock")
    assert inventory.stock == {"p": 1, "q": 1_000}


async def test_lines_of_the_same_product_are_summed(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    inventory.stock["p"] = 3
    assert (await client.post("/api/orders", json=order_of(("p", 2), ("p", 2)))).status_code == 400
    await place(client, ("p", 2), ("p", 1))
    assert inventory.stock["p"] == 0


async def test_unknown_product_404_precedes_short_stock_400(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    inventory.stock["p"] = 0
    problem(await client.post("/api/orders", json=order_of(("p", 1), ("nope", 1))), 404)


async def test_unavailable_inventory_is_503_with_retry_after(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    inventory.down = True
    response = await client.post("/api/orders", json=order_of(("p", 1)))
    problem(response, 503)
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("call", ["GET /{}", "PATCH /{}/status", "PATCH /{}/cancel"])
async def test_malformed_id_is_400_and_unknown_id_is_404_for_every_call(
    client: httpx2.AsyncClient, call: str
) -> None:
    method, path = call.split(" ")
    body = {"status": "SHIPPED"} if "status" in path else None
    for bad, status in [("not-a-uuid", 400), ("%00", 400), (str(uuid4()), 404)]:
        url = "/api/orders" + path.format(bad)
        problem(await client.request(method, url, json=body), status)


async def test_status_advances_step_by_step(client: httpx2.AsyncClient) -> None:
    url = f"/api/orders/{(await place(client, ('p', 1)))['id']}/status"
    problem(await client.patch(url, json={"status": "DELIVERED"}), 400)
    for step in ("SHIPPED", "DELIVERED"):
        moved = await client.patch(url, json={"status": step})
        assert (moved.status_code, moved.json()["status"]) == (200, step)
        problem(await client.patch(url, json={"status": step}), 400)
    for never in ("PENDING", "CONFIRMED", "CANCELLED"):
        problem(await client.patch(url, json={"status": never}), 400)
    problem(await client.patch(url, json={"status": "LOST"}), 422)


async def test_repeated_cancellation_returns_the_stock_once(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    order = await place(client, ("p", 5))
    assert inventory.stock["p"] == 995
    for _ in range(2):
        response = await client.patch(f"/api/orders/{order['id']}/cancel")
        assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")
        assert inventory.stock["p"] == 1_000


@pytest.mark.parametrize("steps", [["SHIPPED"], ["SHIPPED", "DELIVERED"]])
async def test_shipped_order_cannot_be_cancelled(
    client: httpx2.AsyncClient, steps: list[str]
) -> None:
    order = await place(client, ("p", 1))
    for step in steps:
        await client.patch(f"/api/orders/{order['id']}/status", json={"status": step})
    body = problem(await client.patch(f"/api/orders/{order['id']}/cancel"), 400)
    assert body["detail"].startswith("Cannot cancel")


async def test_lists_are_newest_first_and_page_by_the_link_header(
    client: httpx2.AsyncClient,
) -> None:
    placed = [(await place(client, ("p", 1)))["id"] for _ in range(7)]
    seen: list[str] = []
    url = "/api/orders?limit=3&status=CONFIRMED"
    while url:
        response = await client.get(url)
        seen += [order["id"] for order in response.json()]
        url = response.links.get("next", {}).get("url", "")
    assert seen == placed[::-1]


async def test_list_parameters_out_of_range_are_refused(client: httpx2.AsyncClient) -> None:
    for query in ("limit=0", "limit=101", "limit=x", "status=LOST"):
        problem(await client.get(f"/api/orders?{query}"), 422)
    for cursor in ("x", "bm9wZQ", ""):
        problem(await client.get(f"/api/orders?cursor={cursor}"), 400)
    assert (await client.get("/api/orders?status=SHIPPED")).json() == []


async def test_orders_of_a_customer_are_found_case_insensitively(
    client: httpx2.AsyncClient,
) -> None:
    order = await place(client, ("p", 1), email="Carol@Example.com")
    found = await client.get("/api/orders/user/carol@example.COM")
    assert [o["id"] for o in found.json()] == [order["id"]]
    assert (await client.get("/api/orders/user/nobody@example.com")).json() == []


async def test_me_without_a_token_is_refused(client: httpx2.AsyncClient) -> None:
    response = await client.get("/api/orders/me")
    problem(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


async def test_cancellation_stores_its_reason(client: httpx2.AsyncClient, sql: Any) -> None:
    order = await place(client, ("p", 1))
    url = f"/api/orders/{order['id']}/cancel"
    problem(await client.patch(url, json={"why": "x"}), 422)
    assert (await client.patch(url, json={"reason": "Changed my mind"})).status_code == 200
    assert await sql.fetchval("SELECT cancel_reason FROM orders") == "Changed my mind"


def _changed(**changes: Any) -> dict[str, Any]:
    return {**order_of(("p", 1)), **changes}


def _item(**changes: Any) -> dict[str, Any]:
    return _changed(items=[{**order_of(("p", 1))["items"][0], **changes}])


BAD = [
    _changed(items=[]),
    _changed(customer_email="nobody"),
    _changed(customer_email="a@b"),
    _changed(customer_email="a\r\nBcc: x@example.com"),
    _changed(customer_name=""),
    _changed(customer_name="   "),
    _changed(customer_name="x" * 201),
    _changed(total_amount=0.01),
    _changed(items=order_of(("p", 1))["items"] * 101),
    _item(quantity=0),
    _item(quantity=-1),
    _item(quantity=1.5),
    _item(quantity="1"),
    _item(quantity=True),
    _item(quantity=10**30),
    _item(unit_price=0),
    _item(unit_price=-1),
    _item(unit_price=0.001),
    _item(unit_price="10.00"),
    _item(unit_price=10_000_000_000),
    _item(unit_price=9_999_999_999.99, quantity=2),
    _item(product_id=""),
    _item(product_id="x" * 101),
    _item(product_id="\x00"),
    _item(product_id={"$gt": ""}),
    _item(total_price=0.01),
]


@pytest.mark.parametrize("body", BAD)
async def test_invalid_body_is_422_and_stores_nothing(
    client: httpx2.AsyncClient, sql: Any, body: dict[str, Any]
) -> None:
    """Promise 8: a client cannot set the total, and unknown fields are refused."""
    problem(await client.post("/api/orders", json=body), 422)
    assert await sql.fetchval("SELECT count(*) FROM orders") == 0


@pytest.mark.parametrize("domain", ["example.com", "shop.test", "sub.domain.co.uk"])
async def test_reserved_mail_domains_are_accepted(client: httpx2.AsyncClient, domain: str) -> None:
    await place(client, ("p", 1), email=f"a.b+c@{domain}")


async def test_product_id_may_contain_url_metacharacters(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    odd = ["a/b", "..", "ü?&#%2F", "reduce", "x y"]
    inventory.stock |= dict.fromkeys(odd, 5)
    await place(client, *[(product, 1) for product in odd])
    assert all(inventory.stock[product] == 4 for product in odd)
