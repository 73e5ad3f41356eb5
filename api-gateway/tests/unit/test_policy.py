"""The role table equals contracts.md; operations outside the table are refused."""

import json
from pathlib import Path

import pytest

from app.policy import TABLE, Access, Operation
from app.routing import RouteTable
from chassis.security.token_verifier import Identity

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts/openapi"
PUBLIC = {
    "GET /api/products",
    "GET /api/products/search",
    "GET /api/products/suggest",
    "GET /api/products/facets",
    "GET /api/products/changes",
    "GET /api/products/images/{slug}.svg",
    "GET /api/products/{product_id}",
    "GET /api/inventory/{product_id}/check",
}
SIGNED_IN = {"POST /api/ai/chat", "GET /api/ai/recommendations", "POST /api/ai/suggest"}
CUSTOMER = {
    "POST /api/orders",
    "GET /api/orders/me",
    "GET /api/orders/user/{email}",
    "GET /api/orders/{order_id}",
    "PATCH /api/orders/{order_id}/cancel",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")


def bearer(*roles: str) -> Identity:
    return Identity("alice", "alice@example.com", frozenset(roles), 0.0)


def named(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def test_operations_outside_the_lists_need_the_role_admin() -> None:
    """Promise 49: repeats the roles of contracts.md, so that a change needs two edits."""
    expected = {Access.PUBLIC: PUBLIC, Access.SIGNED_IN: SIGNED_IN, Access.CUSTOMER: CUSTOMER}
    for access, operations in expected.items():
        assert {named(row) for row in TABLE if row.access is access} == operations
    rest = {named(row) for row in TABLE} - PUBLIC - SIGNED_IN - CUSTOMER
    assert {named(row) for row in TABLE if row.access is Access.ADMIN} == rest
    assert rest


def test_no_operation_is_listed_twice() -> None:
    assert len({named(row) for row in TABLE}) == len(TABLE)


def test_path_prefix_belongs_to_one_service() -> None:
    areas = {(row.path.split("/")[2], row.upstream) for row in TABLE}
    assert len(areas) == len({area for area, _ in areas}) == 4


@pytest.mark.parametrize(
    ("access", "roles", "allowed"),
    [
        (Access.SIGNED_IN, (), True),
        (Access.CUSTOMER, (), False),
        (Access.CUSTOMER, ("offline_access", "uma_authorization"), False),
        (Access.CUSTOMER, ("customer",), True),
        (Access.CUSTOMER, ("admin",), True),
        (Access.ADMIN, ("customer",), False),
        (Access.ADMIN, ("customer", "admin"), True),
        *((Access.ADMIN, (role,), False) for role in ("Admin", "ADMIN", "admin ", "administrator")),
        (Access.ADMIN, ("realm-admin", "admin,customer", "a\u0064min\u200b"), False),
        (Access.CUSTOMER, ("Customer", "customers"), False),
    ],
)
def test_role_name_is_matched_exactly(
    access: Access, roles: tuple[str, ...], allowed: bool
) -> None:
    assert access.allows(bearer(*roles)) is allowed


@pytest.mark.parametrize("row", TABLE, ids=named)
def test_path_without_policy_has_no_operation(row: Operation) -> None:
    """Promise 49: deny by default, for each method of each path and of its neighbours."""
    routes = RouteTable(TABLE)
    path = row.path.replace("{", "").replace("}", "").encode()
    assert routes.match(row.method, path).operation == row
    known = {other.method for other in TABLE if other.path == row.path}
    for method in METHODS:
        found = routes.match(method, path).operation
        wanted = "GET" if method == "HEAD" else method
        assert found is None or found.method == wanted
        assert found is not None or wanted not in known
    for near in (path + b"/", path.upper(), path[4:], b"/" + path[1:].replace(b"/", b"/v1/", 1)):
        assert routes.match(row.method, near).operation is None, near


def test_operation_removed_from_the_table_is_unknown() -> None:
    routes = RouteTable(row for row in TABLE if named(row) != "GET /api/orders")
    address = routes.match("GET", b"/api/orders")
    assert address.operation is None
    assert address.allowed_methods == {"POST"}


@pytest.mark.parametrize("operation", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_body_limit_equals_the_limit_of_the_service(operation: Operation) -> None:
    """The limit in the service's OpenAPI document, else 16,384 bytes."""
    text = (CONTRACTS / f"{operation.upstream}.json").read_text("utf-8")
    offered = json.loads(text)["paths"][operation.path][operation.method.lower()]
    assert operation.max_body_bytes == offered.get("x-max-body-bytes", 16_384)
