"""Who may do what, at the gateway, with real tokens: every operation, every kind of caller.

The calls are made from the services' own API documents and the gateway's role table, so that what
is added to either is tested as well.
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
NOTHING_HERE = "There is nothing at this address."


def role_table() -> list[tuple[str, str, str, str]]:
    """Service, method, path and access of each row; loaded by its file, for its package is `app`,
    as every service's is."""
    spec = importlib.util.spec_from_file_location("policy", ROOT / GATEWAY / "app/policy.py")
    assert spec is not None
    assert spec.loader is not None
    policy = importlib.util.module_from_spec(spec)
    sys.modules["policy"] = policy  # where its dataclasses look themselves up
    spec.loader.exec_module(policy)
    rows = [(row.upstream, row.method, row.path, row.access.name) for row in policy.TABLE]
    return [row for row in rows if row[0] in APIS or (ROOT / row[0] / "app/main.py").exists()]


TABLE = role_table()


@dataclass(frozen=True)
class Call:
    """One operation of a service, as its document has it."""

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
        """Enough to be understood where it is about an order; else too little to do anything."""
        if self.method == "GET":
            return None
        return {"status": "SHIPPED"} if self.path.endswith("/status") else {}


@pytest.fixture(scope="module")
async def offered(fleet: Fleet) -> list[Call]:
    """Every operation below /api of every service that runs, in the order of its document."""
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
    """A client of the gateway for each kind of caller."""
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
    """A refusal of the door's, or nothing behind it: not what somebody gets who may."""
    nothing = answer.status_code == 404 and answer.json()["detail"] == NOTHING_HERE
    return nothing or answer.status_code in (401, 403, 405)


# --- the table ---


def test_promise_49_every_operation_has_a_policy_and_every_policy_an_operation(
    offered: list[Call],
) -> None:
    """Promise 49: deny by default; a row of a service that is not there yet waits for it."""
    documented = {(call.service, call.method, call.path) for call in offered}
    assert {row[:3] for row in TABLE} == documented


def test_an_address_means_the_same_operation_at_the_gateway_and_at_its_service(
    offered: list[Call],
) -> None:
    """The service takes the first route that fits, the gateway the most literal one."""

    def shape(call: Call) -> list[bool]:
        return [part.startswith("{") for part in call.path.split("/")]

    def overlap(one: Call, other: Call) -> bool:
        parts, others = one.path.split("/"), other.path.split("/")
        return len(parts) == len(others) and all(
            a == b or "{" in a + b for a, b in zip(parts, others, strict=True)
        )

    for first, later in combinations(offered, 2):
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


@pytest.mark.parametrize("who", MAY)
async def test_promise_49_each_caller_reaches_the_functions_of_their_role_and_no_other(
    offered: list[Call], callers: Mapping[str, httpx2.AsyncClient], who: str
) -> None:
    """Promise 49: what has no row is for nobody, the admin included."""
    access = {row[:3]: row[3] for row in TABLE}
    for call in offered:
        url = call.url(email=f"{who}@example.com".replace(" ", "-"))
        answer = await callers[who].request(call.method, url, json=call.body)
        where = (who, call, answer.status_code, answer.text)
        assert answer.status_code < 500, where
        if access.get((call.service, call.method, call.path)) in MAY[who]:
            assert not is_forbidden(answer), where
        else:
            assert answer.status_code == (401 if who == ANONYMOUS else 403), where


@pytest.mark.parametrize("who", MAY)
async def test_promise_49_what_no_service_offers_is_there_for_nobody(
    offered: list[Call], callers: Mapping[str, httpx2.AsyncClient], who: str
) -> None:
    """Promise 49: every other method of every address, and what lies beside the APIs."""
    known = {(call.method, call.path) for call in offered}
    addresses = {call.path: call for call in offered}
    calls = [
        (method, call.url())
        for path, call in addresses.items()
        for method in METHODS
        if (method, path) not in known and not shadowed(method, path, offered)
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
        answer = await callers[who].request(method, url, json={} if method != "GET" else None)
        assert answer.status_code in (400, 404, 405), (who, method, url, answer.text)


def shadowed(method: str, path: str, offered: list[Call]) -> bool:
    """Whether another operation's template takes this address: PUT /api/products/search is one."""
    parts = path.split("/")
    return any(
        call.method == method
        and len(parts) == len(others := call.path.split("/"))
        and all("{" in b or a == b for a, b in zip(parts, others, strict=True))
        for call in offered
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
    """Two orders of alice's."""
    placed = [await place(callers["alice"], shop, "alice@example.com") for _ in range(2)]
    assert [answer.status_code for answer in placed] == [201, 201]
    return [answer.json() for answer in placed]


def about_an_order(offered: list[Call]) -> Iterator[Call]:
    found = [call for call in offered if call.service == "order-service" and "{" in call.path]
    assert len(found) >= 4
    yield from found


async def test_promise_48_nobody_reaches_anothers_order_by_any_operation(
    offered: list[Call],
    orders: list[dict[str, Any]],
    callers: Mapping[str, httpx2.AsyncClient],
) -> None:
    """Promise 48: every operation that names an order or a person."""
    for call in about_an_order(offered):
        url = call.url(order_id=orders[0]["id"], email="alice@example.com")
        for who, expected in ((ANONYMOUS, 401), ("bob", 403), (PROGRAM, 403)):
            answer = await callers[who].request(call.method, url, json=call.body)
            assert answer.status_code == expected, (who, call, answer.text)
            assert orders[0]["order_number"] not in answer.text
    standing = await callers["alice"].get(f"/api/orders/{orders[0]['id']}")
    assert standing.json() == orders[0]


async def test_promise_48_nobody_places_an_order_for_another(
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


async def test_promise_48_an_admin_may_act_for_anybody(
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


async def test_promise_48_lists_hold_the_callers_own_rows_and_no_other(
    shop: Shop, orders: list[dict[str, Any]], callers: Mapping[str, httpx2.AsyncClient]
) -> None:
    """Promise 48: also with another's cursor, and with filters that nobody offers."""
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


async def test_promise_48_no_spelling_of_anothers_address_opens_their_list(
    orders: list[dict[str, Any]], callers: Mapping[str, httpx2.AsyncClient]
) -> None:
    """Promise 48: case, encodings, look-alikes; alice's own is hers in any case."""
    for spelling in SPELLINGS:
        answer = await callers["bob"].get(f"/api/orders/user/{spelling}")
        assert answer.status_code in (400, 403), (spelling, answer.text)
        assert orders[0]["order_number"] not in answer.text
    for spelling in ("ALICE@EXAMPLE.COM", "%61lice@example.com", "alice%40example.com"):
        answer = await callers["alice"].get(f"/api/orders/user/{spelling}")
        assert orders[0]["id"] in answer.text


async def test_promise_48_no_spelling_of_an_orders_id_opens_it(
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


# --- the tokens themselves ---


async def test_promise_39_a_token_of_another_kind_or_changed_is_401_in_the_fleet(
    fleet: Fleet,
) -> None:
    """Promise 39: what the real provider signs, but not for this; the table is played elsewhere."""
    form = {"grant_type": "password", "client_id": "storefront", "scope": "openid"}
    form |= {"username": "admin", "password": "admin"}
    given = httpx2.post(f"{fleet.identity.endpoints}/token", data=form).json()
    good = given["access_token"]
    head, payload, signature = good.split(".")
    other = fleet.identity.token("alice").split(".")
    wrong = {
        "an ID token": given["id_token"],
        "a refresh token": given["refresh_token"],
        "another's payload": f"{head}.{other[1]}.{signature}",
        "another's signature": f"{head}.{payload}.{other[2]}",
        "cut short": good[:-20],
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


async def test_the_doctor_knows_the_fleets_tokens_and_what_is_wrong_with_others(
    fleet: Fleet,
) -> None:
    said = await fleet.run("doctor", "-u", "alice")
    assert "The gateway accepts it" in said
    assert "roles: customer" in said
    with pytest.raises(AssertionError, match="not a signed token"):
        await fleet.run("doctor", "hello")
