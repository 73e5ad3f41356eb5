"""Promise 46: gateway and service read every path in the same way."""

import re
from functools import cache
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Match, Route

from app.policy import TABLE, Operation
from app.routing import MAX_BYTES, MalformedAddress, RouteTable, check_query

ROUTES = RouteTable(TABLE)

REFUSED = [
    b"",
    b"*",
    b"api/products",
    b"/",
    b"/api/products/../../admin",
    b"/api/products/..",
    b"/api/products/.",
    b"/api/./products",
    b"/api/products/%2e%2e",
    b"/api/products/%2E%2e/orders",
    b"/api/products/.%2e",
    b"/api/products/%2e",
    b"/api/products/a%2fb",
    b"/api/products/a%2Fb",
    b"/api/products/..%2f..%2fadmin",
    b"/api/products/a%5cb",
    b"/api/products/a%5Cb",
    b"/api/products/..\\..\\admin",
    b"/api//products",
    b"//api/products",
    b"/api/products//",
    b"/api/products;v=1",
    b"/api/products/;/admin",
    b"/api/products/a%00",
    b"/api/products/a%0d%0aX:1",
    b"/api/products/a%1f",
    b"/api/products/a%7F",
    b"/api/products/a\x00",
    b"/api/orders/user%2Fa@example.com",
    b"/api/orders%2fuser/a@example.com",
    b"/api/orders/user/..%2f..%2fme",
    b"/api/orders/user/a%2Fb",
    b"/api/orders/user/a@example.com%2Fcancel",
    b"/api/orders/user/a@b%2F..%2F@example.com",
    b"/api/orders/user/a%2Fb@example.com/x",
    b"/api/orders/a%2Fb@example.com",
    b"/api/orders/a%2Fb@example.com/cancel",
    b"/api/inventory/a%2Fb@example.com",
    b"/api/orders/user/a%2Fb%5C@example.com",
    b"/api/orders/user/a%2F%0d%0aX:1@example.com",
    b"/api/products/a b",
    b"/api/products/\xff",
    b"/api/products/%ff",
    b"/api/products/%c0%ae%c0%ae",  # overlong UTF-8 encoding of a dot
    b"/api/products/%",
    b"/api/products/%2",
    b"/api/products/%zz",
    b"/api/products/%u002e",
    b"/api/products/a?b",
    b"/api/products/a#b",
    b'/api/products/"',
    b"/api/products/<script>",
    b"/api/products/" + b"a" * MAX_BYTES,
]


@pytest.mark.parametrize("path", REFUSED)
def test_promise_46_ambiguous_path_is_refused(path: bytes) -> None:
    with pytest.raises(MalformedAddress):
        ROUTES.match("GET", path)


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", b"/api/products", "/api/products"),
        ("GET", b"/api/products/search", "/api/products/search"),
        ("GET", b"/api/products/se%61rch", "/api/products/search"),
        ("GET", b"/api/products/Search", "/api/products/{product_id}"),
        ("GET", b"/api/products/images/mug.svg", "/api/products/images/{slug}.svg"),
        ("GET", b"/api/products/a~b!$&'()*+,=:@", "/api/products/{product_id}"),
        ("GET", b"/api/products/...", "/api/products/{product_id}"),
        ("GET", b"/api/products/%252e%252e", "/api/products/{product_id}"),
        ("GET", b"/api/orders/me", "/api/orders/me"),
        ("GET", b"/api/orders/%6de", "/api/orders/me"),
        ("GET", b"/api/orders/%6D%65", "/api/orders/me"),
        ("GET", b"/api/orders/user/a%40example.com", "/api/orders/user/{email}"),
        ("GET", b"/api/orders/user/sales%2Feu@example.com", "/api/orders/user/{email}"),
        ("GET", b"/api/orders/user/a%2f..%2Fb%40example.com", "/api/orders/user/{email}"),
        ("GET", b"/api/orders/user/%252F%25@b%C3%BCcher.example", "/api/orders/user/{email}"),
        ("GET", b"/api/inventory/%C3%A9", "/api/inventory/{product_id}"),
        ("GET", b"/%61pi/orders/me", "/api/orders/me"),
        ("PATCH", b"/api/orders/1/cancel", "/api/orders/{order_id}/cancel"),
        ("PATCH", b"/api/inventory/reduce", "/api/inventory/reduce"),
    ],
)
def test_path_is_matched_by_its_decoded_segments(method: str, path: bytes, template: str) -> None:
    address = ROUTES.match(method, path)
    assert address.operation is not None
    assert address.operation.path == template
    assert address.is_api


@pytest.mark.parametrize(
    "path",
    [
        b"/api",
        b"/api/",
        b"/API/products",
        b"/api/Products",
        b"/api/products/",
        b"/api/orders/",
        b"/api/products/search/",
        b"/api/products/images/mug.png",
        b"/api/products/images/.svg",
        b"/api/products/1/2",
        b"/api/nothing",
        b"/metrics",
        b"/x/api/products",
    ],
)
def test_unknown_path_has_no_operation(path: bytes) -> None:
    address = ROUTES.match("GET", path)
    assert (address.operation, address.allowed_methods) == (None, frozenset())


def test_known_path_with_unknown_method_lists_the_allowed_methods() -> None:
    address = ROUTES.match("DELETE", b"/api/orders/1")
    assert (address.operation, address.allowed_methods) == (None, frozenset({"GET"}))


def test_literal_segments_precede_parameters_in_any_table_order() -> None:
    assert RouteTable(reversed(TABLE)).match("GET", b"/api/orders/me") == ROUTES.match(
        "GET", b"/api/orders/me"
    )


@cache
def routes_of(upstream: str) -> list[tuple[Route, Operation]]:
    """Return the Starlette routes of one service, as FastAPI registers them."""

    async def nothing() -> None: ...

    table = [operation for operation in TABLE if operation.upstream == upstream]
    paths = {row: row.path.replace("{email}", "{email:path}") for row in table}
    return [(Route(paths[row], nothing, methods=[row.method]), row) for row in table]


def routed(operation: Operation, method: str, path: bytes) -> Operation | None:
    """Return the operation that the service would run for this request line."""
    scope = {"type": "http", "method": method, "path": unquote(path.decode()), "root_path": ""}
    for route, row in routes_of(operation.upstream):
        if route.matches(scope)[0] is Match.FULL and row.method == method:
            return row
    return None


WORDS = """
    api products orders inventory ai search me user images a.svg .svg check reduce restock
    status
    cancel movements reverse x %6de %6De sea%72ch .. . %2e %2f %5c %00 %25 %252e ; ~ %C3%A9 %ff
    products.. api%20 %20 chat CHAT a%2fb@c.d ..%2F..%2Fx@c.d %2f@c.d"""
words = st.sampled_from(WORDS.split()) | st.just("")
paths = st.lists(words, max_size=5).map(lambda parts: "/" + "/".join(parts))
templates = st.sampled_from(sorted({row.path for row in TABLE})).flatmap(
    lambda path: st.lists(words, min_size=1, max_size=1 + path.count("{")).map(
        lambda parts: re.sub(r"{\w+}[.\w]*", lambda _: parts[-1], path, count=len(parts))
    )
)
likely = st.tuples(templates, st.sampled_from(["", "", "", "/", "/x", ".", ".svg", "%20"])).map(
    "".join
)
anything = st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x21), max_size=40).map(
    lambda text: "/" + text
)
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"])


@given(methods, likely | paths | anything)
def test_promise_46_policy_and_service_select_the_same_operation(method: str, text: str) -> None:
    path = text.encode()
    try:
        operation = ROUTES.match(method, path).operation
    except MalformedAddress:
        return
    if operation is not None:
        assert routed(operation, method, path) == operation


@pytest.mark.parametrize("query", [b"a b", b"a\x00", b"\xff", b"a=\x7f", b"a" * (MAX_BYTES + 1)])
def test_query_outside_visible_ascii_is_refused(query: bytes) -> None:
    with pytest.raises(MalformedAddress):
        check_query(query)


def test_query_of_visible_ascii_is_accepted() -> None:
    check_query(b"q=%00%ff&a=../..//&b[]=\\;'\"<>{}|^`?/:@")
