"""A token restricts a customer to their own orders; order-service does not trust the gateway."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from fleet.testing.token_mint import SigningKey, StandIn, claims_of, stand_in, token
from tests.conftest import order_of, running

KEY = SigningKey.new("k1")


@pytest.fixture
async def provider() -> AsyncIterator[StandIn]:
    async with stand_in(KEY) as provider:
        yield provider


@pytest.fixture(params=[False, True], ids=["token optional", "token required"])
async def client(
    request: pytest.FixtureRequest, settings: Settings, provider: StandIn, sql: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    update = {"oidc_jwks_url": provider.jwks_url, "auth_required": request.param}
    async with running(create_app(settings.model_copy(update=update))) as client:
        yield client


def bearer(name: str, *roles: str, **changed: Any) -> dict[str, str]:
    """Return the Authorization header of `<name>@example.com`."""
    return {"Authorization": f"Bearer {token(KEY, claims_of(name, *roles, **changed))}"}


ALICE, BOB = bearer("alice", "customer"), bearer("bob", "customer")
ADMIN = bearer("admin", "admin", "customer")


async def place(
    client: httpx2.AsyncClient, headers: dict[str, str], email: str = "alice@example.com"
) -> httpx2.Response:
    body = order_of(("p", 1), email=email)
    return await client.post("/api/orders", json=body, headers=headers)


CALLS = [
    ("GET", "/api/orders/{id}", None),
    ("PATCH", "/api/orders/{id}/cancel", None),
    ("PATCH", "/api/orders/{id}/status", {"status": "SHIPPED"}),
    ("GET", "/api/orders/user/alice@example.com", None),
    ("GET", "/api/orders", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_promise_48_customer_cannot_access_an_order_of_another(
    client: httpx2.AsyncClient, sql: Any, method: str, path: str, body: dict[str, str] | None
) -> None:
    """Promise 48 at order-service: bob tries every call on alice's order."""
    order = (await place(client, ALICE)).json()
    url = path.format(id=order["id"])
    assert (await client.request(method, url, json=body, headers=BOB)).status_code == 403
    assert await sql.fetchval("SELECT status FROM orders") == "CONFIRMED"
    assert (await client.request(method, url, json=body, headers=ADMIN)).status_code == 200


async def test_customer_can_place_read_and_cancel_own_orders(client: httpx2.AsyncClient) -> None:
    alice = bearer("alice", "customer", email="Alice@Example.com")
    order = (await place(client, alice, "alice@EXAMPLE.com")).json()
    url = f"/api/orders/{order['id']}"
    for listing in ("me", "user/ALICE@example.com"):
        mine = await client.get(f"/api/orders/{listing}", headers=alice)
        assert [o["id"] for o in mine.json()] == [order["id"]]
    assert (await client.get(url, headers=alice)).status_code == 200
    assert (await client.patch(f"{url}/cancel", headers=alice)).status_code == 200


@pytest.mark.parametrize("sign", ["\u212a", "\uff4b", "k\u0307"])
async def test_similar_address_does_not_own_the_orders(
    client: httpx2.AsyncClient, sign: str
) -> None:
    """Promise 48: the lower case of the Kelvin sign is `k`, but the addresses differ."""
    order = (await place(client, bearer("kim", "customer"), "kim@example.com")).json()
    other = bearer("other", "customer", email=f"{sign}im@example.com")
    url = f"/api/orders/{order['id']}"
    assert (await client.get(url, headers=other)).status_code == 403
    assert (await client.patch(f"{url}/cancel", headers=other)).status_code == 403
    assert (await client.get("/api/orders/user/kim@example.com", headers=other)).status_code == 403
    assert (await client.get("/api/orders/me", headers=other)).json() == []
    assert (await place(client, other, "kim@example.com")).status_code == 403


async def test_only_an_admin_may_order_for_another_customer(client: httpx2.AsyncClient) -> None:
    assert (await place(client, BOB)).status_code == 403
    assert (await place(client, ADMIN)).status_code == 201


@pytest.mark.parametrize("changed", [{"email_verified": False}, {"email": None}, {"email": ""}])
async def test_unverified_address_owns_no_orders(
    client: httpx2.AsyncClient, changed: dict[str, Any]
) -> None:
    alice = bearer("alice", "customer", **changed)
    assert (await place(client, alice)).status_code == 403
    assert (await client.get("/api/orders/me", headers=alice)).status_code == 403


async def test_promise_12_key_of_a_token_belongs_to_its_subject(
    client: httpx2.AsyncClient,
) -> None:
    """Promise 12: an admin's key for alice's order differs from alice's equal key."""
    body = order_of(("p", 1))
    ids = set()
    for who in (ALICE, ADMIN):
        headers = who | {"Idempotency-Key": "k"}
        ids.add((await client.post("/api/orders", json=body, headers=headers)).json()["id"])
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("token_email", "order_email"),
    [
        ("alice@bücher.example", "alice@bücher.example"),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        ("Alice@xn--bcher-kva.example", "alice@BU\u0308CHER.example"),
    ],
)
async def test_customer_at_an_internationalised_domain_owns_their_orders(
    client: httpx2.AsyncClient, token_email: str, order_email: str
) -> None:
    """Token and order may spell the domain differently."""
    alice = bearer("alice", "customer", email=token_email)
    placed = await place(client, alice, order_email)
    assert placed.status_code == 201, placed.text
    for listing in ("me", f"user/{order_email}", f"user/{token_email}"):
        mine = await client.get(f"/api/orders/{listing}", headers=alice)
        assert [order["id"] for order in mine.json()] == [placed.json()["id"]]


@pytest.mark.parametrize("similar", ["bucher", "buecher", "b\u00fccher-", "xn--bcher-kva.xn--a"])
async def test_customer_at_a_similar_domain_does_not_own_the_orders(
    client: httpx2.AsyncClient, similar: str
) -> None:
    alice = bearer("alice", "customer", email="alice@bücher.example")
    order = (await place(client, alice, "alice@bücher.example")).json()
    other = bearer("other", "customer", email=f"alice@{similar}.example")
    assert (await client.get(f"/api/orders/{order['id']}", headers=other)).status_code == 403
    assert (await client.get("/api/orders/me", headers=other)).json() == []
