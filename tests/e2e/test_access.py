"""Authorization at the gateway with real tokens: every operation, every kind of caller.

The calls are generated from the services' OpenAPI documents and the gateway's role table, so that
additions to either are tested automatically.
"""

import importlib.util
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import httpx2
import pytest

from fleet.services import present
from tests.fleet_under_test import GATEWAY, ROOT, Fleet, Shop

APIS = {service.name for service in present(ROOT) if service.api} - {GATEWAY}
USERS = ("alice", "bob", "admin")
ANONYMOUS, PROGRAM = "anonymous", "a program without roles"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NOT_FOUND_DETAIL = "There is nothing at this address."


def role_table() -> list[tuple[str, str, str, str]]:
    """Return service, method, path and access of each row. The module is loaded by its path,
    because its package is named `app`, as in every service."""
    spec = importlib.util.spec_from_file_location("policy", ROOT / GATEWAY / "app/policy.py")
    assert spec is not None
    assert spec.loader is not None
    policy = importlib.util.module_from_spec(spec)
    sys.modules["policy"] = policy  # dataclasses look up their module here
    spec.loader.exec_module(policy)
    rows = [(row.upstream, row.method, row.path, row.access.name) for row in policy.TABLE]
    return [row for row in rows if row[0] in APIS or (ROOT / row[0] / "app/main.py").exists()]


TABLE = role_table()


@dataclass(frozen=True)
class Call:
    """An operation of a service's OpenAPI document."""

    service: str
    method: str
    path: str

    def url(self, **parameters: str) -> str:
        filled = self.path
        for name in ("order_id", "product_id", "key", "email", "slug"):
            filled = filled.replace(f"{{{name}}}", parameters.get(name, str(uuid.uuid4())))
        assert "{" not in filled, f"a new parameter: {filled}"
        return filled

    @property
    def body(self) -> dict[str, Any] | None:
        """Return a valid body for an order operation, else one that is refused with 422."""
        if self.method == "GET":
            return None
        return {"status": "SHIPPED"} if self.path.endswith("/status") else {}


@pytest.fixture(scope="module")
async def operations(fleet: Fleet) -> list[Call]:
    """All operations below /api of all running services, in document order."""
    found = []
    async with httpx2.AsyncClient() as client:
        for service in sorted(APIS):
            document = (await client.get(f"{fleet.url(service)}/openapi.json")).json()
            found += [
                Call(service, method.upper(), path)
                for path, methods in document["paths"].items()
                for method in methods
                if path.startswith("/api/")
            ]
    return found


@pytest.fixture(scope="module")
async def callers(fleet: Fleet) -> AsyncIterator[Mapping[str, httpx2.AsyncClient]]:
    """Return a client of the gateway for each kind of caller."""
    program = httpx2.post(
        f"{fleet.identity.endpoints}/token",
        data={
            "grant_type": "client_credentials",
            "client_id": "reporting",
            "client_secret": "reporting-demo-secret",
        },
    )
    tokens = {user: fleet.identity.token(user) for user in USERS}
    tokens[PROGRAM] = program.json()["access_token"]
    clients = {
        name: httpx2.AsyncClient(
            base_url=fleet.url(GATEWAY), headers={"Authorization": f"Bearer {token}"}, timeout=15
        )
        for name, token in tokens.items()
    }
    clients[ANONYMOUS] = httpx2.AsyncClient(base_url=fleet.url(GATEWAY), timeout=15)
    yield clients
    for client in clients.values():
        await client.aclose()


def is_forbidden(answer: httpx2.Response) -> bool:
    """Return True if the gateway refused the request or found no operation."""
    nothing = answer.status_code == 404 and answer.json()["detail"] == NOT_FOUND_DETAIL
    return nothing or answer.status_code in (401, 403, 405)


# --- role table ---


def test_promise_49_operations_and_policies_correspond(
    operations: list[Call],
) -> None:
    """Promise 49: deny by default. Rows for services that do not exist yet are ignored."""
    documented = {(call.service, call.method, call.path) for call in operations}
    assert {row[:3] for row in TABLE} == documented


def test_path_routes_to_same_operation_at_gateway_and_service(
    operations: list[Call],
) -> None:
    """The service uses the first matching route, the gateway the most literal one."""

    def shape(call: Call) -> list[bool]:
        return [part.startswith("{") for part in call.path.split("/")]

    def overlap(one: Call, other: Call) -> bool:
        parts, others = one.path.split("/"), other.path.split("/")
        return len(parts) == len(others) and all(
            a == b or "{" in a + b for a, b in zip(parts, others, strict=True)
        )

    for first, later in combinations(operations, 2):
        if first.service == later.service and first.method == later.method:
            assert not overlap(first, later) or shape(first) < shape(later), (first, later)


# --- functions (BFLA) ---


MAY: dict[str, set[str]] = {
    ANONYMOUS: {"PUBLIC"},
    PROGRAM: {"PUBLIC", "SIGNED_IN"},
    "alice": {"PUBLIC", "SIGNED_IN", "CUSTOMER"},
    "bob": {"PUBLIC", "SIGNED_IN", "CUSTOMER"},
    "admin": {"PUBLIC", "SIGNED_IN", "CUSTOMER", "ADMIN"},
}


@pytest.mark.parametrize("caller", MAY)
async def test_promise_49_callers_reach_only_operations_of_their_role(
    operations: list[Call], callers: Mapping[str, httpx2.AsyncClient], caller: str
) -> None:
    """Promise 49: an operation without a row is refused for every caller, including admins."""
    access = {row[:3]: row[3] for row in TABLE}
    for call in operations:
        url = call.url(email=f"{caller}@example.com".replace(" ", "-"))
        answer = await callers[caller].request(call.method, url, json=call.body)
        where = (caller, call, answer.status_code, answer.text)
        assert answer.status_code < 500, where
        if access.get((call.service, call.method, call.path)) in MAY[caller]:
            assert not is_forbidden(answer), where
        else:
            assert answer.status_code == (401 if caller == ANONYMOUS else 403), where


@pytest.mark.parametrize("caller", MAY)
async def test_promise_49_paths_and_methods_without_operation_are_refused(
    operations: list[Call], callers: Mapping[str, httpx2.AsyncClient], caller: str
) -> None:
    """Promise 49: every other method of every path, and paths outside the APIs."""
    known = {(call.method, call.path) for call in operations}
    addresses = {call.path: call for call in operations}
    calls = [
        (method, call.url())
        for path, call in addresses.items()
        for method in METHODS
        if (method, path) not in known and not matches_other_operation(method, path, operations)
    ]
    calls += [
        ("GET", path)
        for path in (
            "/api/users",
            "/api/orders/internal/all",
            "/api/products/../../metrics",
            "/internal",
            "/admin",
            "/api",
        )
    ]
    assert len(calls) > 40
    for method, url in calls:
        answer = await callers[caller].request(method, url, json={} if method != "GET" else None)
        assert answer.status_code in (400, 404, 405), (caller, method, url, answer.text)


def matches_other_operation(method: str, path: str, operations: list[Call]) -> bool:
    """Return True if another operation's template matches this path, such as
    PUT /api/products/search."""
    parts = path.split("/")
    return any(
        call.method == method
        and len(parts) == len(others := call.path.split("/"))
        and all("{" in b or a == b for a, b in zip(parts, others, strict=True))
        for call in operations
    )


# --- objects (BOLA) ---


async def place(
    client: httpx2.AsyncClient, shop: Shop, email: str, **headers: str
) -> httpx2.Response:
    product = await shop.stock(10)
    item = {"product_id": product, "product_name": "Thing", "quantity": 1, "unit_price": 9.99}
    body = {"customer_name": "Alice Example", "customer_email": email, "items": [item]}
    return await client.post("/api/orders", json=body, headers=headers)


@pytest.fixture
async def orders(shop: Shop, callers: Mapping[str, httpx2.AsyncClient]) -> list[dict[str, Any]]:
    """Two orders of Alice."""
    placed = [await place(callers["alice"], shop, "alice@example.com") for _ in range(2)]
    assert [answer.status_code for answer in placed] == [201, 201]
    return [answer.json() for answer in placed]


def order_operations(operations: list[Call]) -> Iterator[Call]:
    found = [call for call in operations if call.service == "order-service" and "{" in call.path]
    assert len(found) >= 4
    yield from found


async def test_promise_48_order_of_other_customer_is_not_accessible(
    operations: list[Call],
    orders: list[dict[str, Any]],
    callers: Mapping[str, httpx2.AsyncClient],
) -> None:
    """Promise 48: every operation with an order id or an e-mail address."""
    for call in order_operations(operations):
        url = call.url(order_id=orders[0]["id"], email="alice@example.com")
        for caller, expected in ((ANONYMOUS, 401), ("bob", 403), (PROGRAM, 403)):
            answer = await callers[caller].request(call.method, url, json=call.body)
            assert answer.status_code == expected, (caller, call, answer.text)
            assert orders[0]["order_number"] not in answer.text
    standing = await callers["alice"].get(f"/api/orders/{orders[0]['id']}")
    assert standing.json() == orders[0]


async def test_promise_48_order_for_other_customer_is_refused(
    shop: Shop, callers: Mapping[str, httpx2.AsyncClient]
) -> None:
    for email in ("alice@example.com", "ALICE@example.com"):
        assert (await place(callers["bob"], shop, email)).status_code == 403
        assert (await place(callers[ANONYMOUS], shop, email)).status_code == 401
        assert (await place(callers[PROGRAM], shop, email)).status_code == 403
    key = str(uuid.uuid4())
    hers = await place(callers["alice"], shop, "alice@example.com", **{"Idempotency-Key": key})
    his = await place(callers["bob"], shop, "bob@example.com", **{"Idempotency-Key": key})
    assert (hers.status_code, his.status_code) == (201, 201)
    assert his.json()["customer_email"] == "bob@example.com"


async def test_promise_48_admin_may_access_all_orders(
    shop: Shop, orders: list[dict[str, Any]], callers: Mapping[str, httpx2.AsyncClient]
) -> None:
    admin, (first, second) = callers["admin"], orders
    for url in ("/api/orders", f"/api/orders/{first['id']}", "/api/orders/user/alice@example.com"):
        answer = await admin.get(url)
        assert answer.status_code == 200
        assert first["id"] in answer.text
    shipped = await admin.patch(f"/api/orders/{first['id']}/status", json={"status": "SHIPPED"})
    assert shipped.json()["status"] == "SHIPPED"
    cancelled = await admin.patch(f"/api/orders/{second['id']}/cancel")
    assert cancelled.json()["status"] == "CANCELLED"
    assert (await place(admin, shop, "alice@example.com")).status_code == 201


async def test_promise_48_lists_contain_only_orders_of_caller(
    shop: Shop, orders: list[dict[str, Any]], callers: Mapping[str, httpx2.AsyncClient]
) -> None:
    """Promise 48: also with a cursor of another customer, and with unknown filters."""
    assert (await place(callers["bob"], shop, "Bob@Example.com")).status_code == 201
    page = await callers["alice"].get("/api/orders/me?limit=1")
    assert page.json()[0]["id"] == orders[1]["id"]
    cursor = page.links["next"]["url"].partition("?")[2]
    queries = ("", f"?{cursor}", "?email=alice@example.com", "?customer_email=alice@example.com")
    for query in (*queries, "?status=CONFIRMED&limit=100"):
        for url in ("/api/orders/me", "/api/orders/user/bob@example.com"):
            answer = await callers["bob"].get(url + query)
            assert answer.status_code == 200, answer.text
            owners = {row["customer_email"].lower() for row in answer.json()}
            assert owners <= {"bob@example.com"}, (url, query)
    assert (await callers["bob"].get("/api/orders")).status_code == 403
    assert (await callers[PROGRAM].get("/api/orders/me")).status_code == 403


SPELLINGS = (
    "ALICE@EXAMPLE.COM",
    "Alice@example.com",
    "%61lice@example.com",
    "alice%40example.com",
    "alice%2540example.com",
    "alice@example.com%20",
    "%20alice@example.com",
    "alice@example.com.",
    "alice+bob@example.com",
    "alice@example.com,bob@example.com",
    "bob@example.com,alice@example.com",
    "bob@example.com%00alice@example.com",
    "alice@example.com%0A",
    "%EF%BD%81lice@example.com",
    "al%C4%B1ce@example.com",
    "%25",
    "*",
    "alice@example.com'--",
)


async def test_promise_48_variants_of_other_email_address_are_refused(
    orders: list[dict[str, Any]], callers: Mapping[str, httpx2.AsyncClient]
) -> None:
    """Promise 48: case, encodings and homoglyphs. Alice's own address works in any case."""
    for spelling in SPELLINGS:
        answer = await callers["bob"].get(f"/api/orders/user/{spelling}")
        assert answer.status_code in (400, 403), (spelling, answer.text)
        assert orders[0]["order_number"] not in answer.text
    for spelling in ("ALICE@EXAMPLE.COM", "%61lice@example.com", "alice%40example.com"):
        answer = await callers["alice"].get(f"/api/orders/user/{spelling}")
        assert orders[0]["id"] in answer.text


async def test_promise_48_variants_of_order_id_are_refused(
    orders: list[dict[str, Any]], callers: Mapping[str, httpx2.AsyncClient]
) -> None:
    order_id = str(orders[0]["id"])
    spellings = (
        order_id.upper(),
        order_id.replace("-", ""),
        f"%7B{order_id}%7D",
        f"urn:uuid:{order_id}",
        f"{order_id}%20",
        f"%{ord(order_id[0]):x}{order_id[1:]}",
    )
    for spelling in spellings:
        for method, tail in (("GET", ""), ("PATCH", "/cancel")):
            answer = await callers["bob"].request(method, f"/api/orders/{spelling}{tail}")
            assert answer.status_code in (400, 403), (spelling, answer.text)
            assert orders[0]["order_number"] not in answer.text


# --- tokens ---


async def test_promise_39_altered_or_wrong_token_returns_401_in_fleet(
    fleet: Fleet,
) -> None:
    """Promise 39: tokens that the real provider signed for another purpose, and altered ones."""
    form = {"grant_type": "password", "client_id": "storefront", "scope": "openid"}
    form |= {"username": "admin", "password": "admin"}
    given = httpx2.post(f"{fleet.identity.endpoints}/token", data=form).json()
    good = given["access_token"]
    head, payload, signature = good.split(".")
    other = fleet.identity.token("alice").split(".")
    wrong = {
        "an ID token": given["id_token"],
        "a refresh token": given["refresh_token"],
        "other payload": f"{head}.{other[1]}.{signature}",
        "other signature": f"{head}.{payload}.{other[2]}",
        "truncated": good[:-20],
        "no token": "none",
    }
    async with httpx2.AsyncClient() as client:
        for url in (
            fleet.url(GATEWAY) + "/api/orders",
            fleet.url(GATEWAY) + "/api/products",
            fleet.url("order-service") + "/api/orders",
        ):
            for name, token in wrong.items():
                answer = await client.get(url, headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 401, (url, name)
                assert answer.headers["www-authenticate"].startswith("Bearer")
            twice = [("Authorization", f"Bearer {good}")] * 2
            assert (await client.get(url, headers=twice)).status_code == 401
            good_one = await client.get(url, headers={"Authorization": f"Bearer {good}"})
            assert good_one.status_code == 200


async def test_doctor_accepts_fleet_token_and_explains_invalid_one(
    fleet: Fleet,
) -> None:
    printed = await fleet.run("doctor", "-u", "alice")
    assert "The gateway accepts it" in printed
    assert "roles: customer" in printed
    with pytest.raises(AssertionError, match="not a signed token"):
        await fleet.run("doctor", "hello")
