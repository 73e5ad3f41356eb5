"""The edge: what is refused before anything else is asked. Nothing here reaches a database."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from tests.conftest import SettingsFactory
from tests.stock import assert_problem, path_of

KEY = {"Idempotency-Key": "k"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(make_settings: SettingsFactory) -> Iterator[TestClient]:
    """Both servers are nowhere: any I/O would be a 503."""
    with TestClient(create_app(make_settings()), raise_server_exceptions=False) as client:
        yield client


BAD_IDS = ["", " ", "%20", "%00", "%0A", "%7F", "%FF", "%C3", "%ED%A0%80", "x" * 101, "%F0%9F" * 40]


@pytest.mark.parametrize("bad", BAD_IDS[2:])
def test_a_malformed_product_id_is_400_whatever_the_method(client: TestClient, bad: str) -> None:
    """Also where the body is malformed too: the id comes first."""
    path = f"/api/inventory/{bad}"
    calls = [
        client.get(path),
        client.get(f"{path}/check?quantity=1"),
        client.get(f"{path}/check?quantity=none"),
        client.put(path, json={}),
        client.put(path, json={"unknown": 1}),
        client.delete(path),
        client.patch(f"{path}/reduce", json={"quantity": 1}),
        client.patch(f"{path}/restock", json={"quantity": 0}),
    ]
    for answer in calls:
        assert assert_problem(answer, 400)["type"] == "/problems/invalid-product-id"


@pytest.mark.parametrize("bad", ["%20", "a%20b", "%00", "%C3%A9", "%FF", "k" * 256])
def test_a_malformed_key_to_reverse_is_400(client: TestClient, bad: str) -> None:
    assert_problem(client.post(f"/api/inventory/movements/{bad}/reverse"), 400)


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "\x7f", "é"])
@pytest.mark.parametrize("path", ["reduce", "p/reduce", "p/restock"])
def test_a_malformed_idempotency_key_is_400(client: TestClient, path: str, key: str) -> None:
    body: dict[str, Any] = {"quantity": 1}
    if path == "reduce":
        body = {"items": [{"product_id": "p", "quantity": 1}]}
    answer = client.patch(
        f"/api/inventory/{path}",
        json=body,
        headers=[(b"idempotency-key", key.encode("latin-1"))],
    )
    assert_problem(answer, 400)


BAD_QUANTITIES = [
    "0",
    "-1",
    "1000001",
    "1.5",
    '"1"',
    "true",
    "null",
    "NaN",
    "1e400",
    "[1]",
    "9" * 5_000,
]


@pytest.mark.parametrize("number", BAD_QUANTITIES)
def test_a_quantity_is_a_whole_number_from_one_to_a_million(
    client: TestClient, number: str
) -> None:
    body = f'{{"quantity": {number}}}'
    for path in ("p/reduce", "p/restock"):
        answer = client.patch(f"/api/inventory/{path}", content=body, headers={**JSON, **KEY})
        assert_problem(answer, 422)


@pytest.mark.parametrize("number", sorted({*BAD_QUANTITIES, "100000001"} - {"1000001"}))
def test_a_line_of_a_reduction_may_be_the_sum_of_a_hundred(client: TestClient, number: str) -> None:
    body = f'{{"items": [{{"product_id": "p", "quantity": {number}}}]}}'
    answer = client.patch("/api/inventory/reduce", content=body, headers={**JSON, **KEY})
    assert_problem(answer, 422)
    body = '{"items": [{"product_id": "p", "quantity": 100000000}]}'
    answer = client.patch("/api/inventory/reduce", content=body, headers={**JSON, **KEY})
    assert_problem(answer, 503)


BAD_BODIES: list[tuple[str, str, str]] = [
    ("POST", "", "{}"),
    ("POST", "", '{"product_id": "p", "product_name": "P"}'),
    ("POST", "", '{"product_id": "p", "product_name": "P", "quantity": -1}'),
    ("POST", "", '{"product_id": "p", "product_name": "P", "quantity": 1000000001}'),
    ("POST", "", '{"product_id": "p", "product_name": "P", "quantity": 1, "reserved_qty": 1}'),
    ("POST", "", '{"product_id": "", "product_name": "P", "quantity": 1}'),
    ("POST", "", '{"product_id": "  ", "product_name": "P", "quantity": 1}'),
    ("POST", "", '{"product_id": "p\\u0000", "product_name": "P", "quantity": 1}'),
    ("POST", "", '{"product_id": "\\ud800", "product_name": "P", "quantity": 1}'),
    ("POST", "", '{"product_id": "p", "product_name": "a\\nb", "quantity": 1}'),
    ("POST", "", f'{{"product_id": "{"p" * 101}", "product_name": "P", "quantity": 1}}'),
    ("POST", "", f'{{"product_id": "p", "product_name": "{"P" * 201}", "quantity": 1}}'),
    ("PUT", "/p", '{"quantity": null}'),
    ("PUT", "/p", '{"product_name": null}'),
    ("PUT", "/p", '{"reserved_qty": null}'),
    ("PUT", "/p", '{"quantity": 1, "product_id": "q"}'),
    ("PUT", "/p", '{"reserved_qty": -1}'),
    ("PUT", "/p", '{"quantity": true}'),
    ("PUT", "/p", "[]"),
    ("PATCH", "/p/reduce", '{"quantity": 1, "more": 1}'),
    ("PATCH", "/reduce", '{"items": []}'),
    ("PATCH", "/reduce", '{"items": [{"product_id": "p"}]}'),
    ("PATCH", "/reduce", '{"items": [{"product_id": "p", "quantity": 1, "price": 2}]}'),
    ("PATCH", "/reduce", '{"items": {"product_id": "p", "quantity": 1}}'),
]


@pytest.mark.parametrize(("method", "path", "body"), BAD_BODIES)
def test_a_body_that_breaks_the_contract_is_422(
    client: TestClient, method: str, path: str, body: str
) -> None:
    url = f"/api/inventory{path}"
    answer = client.request(method, url, content=body, headers={**JSON, **KEY})
    for item in assert_problem(answer, 422)["detail"]:
        assert item.keys() == {"loc", "msg", "type"}


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.5", ""])
def test_a_limit_is_1_to_100(client: TestClient, limit: str) -> None:
    assert_problem(client.get("/api/inventory", params={"limit": limit}), 422)


FOREIGN_CURSORS = [
    "",
    "x",
    "%%%",
    "é",
    "bnVsbA",  # null
    "WyJwIl0",  # ["p"]: one part
    "WyJvcmRlcnMiLCAicCJd",  # ["orders", "p"]: another service's
    "WyJpbnZlbnRvcnkiLCAiIl0",  # ["inventory", ""]
    "WyJpbnZlbnRvcnkiLCAiXHUwMDAwIl0",  # ["inventory", "\u0000"], which PostgreSQL refuses
    "WyJpbnZlbnRvcnkiLCAiXHVkODAwIl0",  # ["inventory", "\ud800"], which no text can hold
    "WyJpbnZlbnRvcnkiLCAxXQ",  # ["inventory", 1]
]


@pytest.mark.parametrize("cursor", FOREIGN_CURSORS)
def test_a_cursor_that_is_not_ours_is_400(client: TestClient, cursor: str) -> None:
    answer = client.get("/api/inventory", params={"cursor": cursor})
    assert assert_problem(answer, 400)["type"] == "/problems/invalid-cursor"


@pytest.mark.parametrize("quantity", ["0", "-1", "1000000001", "x", "1.5", "", "9" * 5_000])
def test_check_needs_a_quantity_above_nothing(client: TestClient, quantity: str) -> None:
    answer = client.get("/api/inventory/p/check", params={"quantity": quantity})
    assert_problem(answer, 422)


def test_check_needs_a_quantity(client: TestClient) -> None:
    assert_problem(client.get("/api/inventory/p/check"), 422)


ODD_CALLS = [
    ("POST", "/api/inventory/p", 405),
    ("DELETE", "/api/inventory", 405),
    ("PATCH", "/api/inventory/p", 405),
    ("GET", "/api/inventory/", 404),
    ("GET", "/api/inventory//check", 404),
    ("GET", "/api/inventory/p/unknown", 404),
    ("GET", "/api/inventory/movements/k/reverse", 405),
    ("GET", "/nowhere/%FF", 404),
    ("BREW", "/api/inventory", 405),
]


@pytest.mark.parametrize(("method", "path", "status"), ODD_CALLS)
def test_promise_54_every_error_is_a_problem(
    client: TestClient, method: str, path: str, status: int
) -> None:
    """Promise 54; and never a redirect, which would name this service's own host."""
    assert_problem(client.request(method, path), status)


def test_a_body_over_the_limit_is_413(client: TestClient) -> None:
    answer = client.post("/api/inventory", content=b"x" * 1_000_001, headers=JSON)
    assert_problem(answer, 413)


def test_without_its_database_a_good_call_is_503_not_a_guess(client: TestClient) -> None:
    """And it shows that the calls above were refused at the edge: they would all be 503."""
    calls = [
        client.get("/api/inventory"),
        client.get(path_of("p")),
        client.get(path_of("reduce")),
        client.get(path_of("x/check")),
        client.patch(path_of("p", "reduce"), json={"quantity": 1}),
        client.post("/api/inventory/movements/k/reverse"),
    ]
    for answer in calls:
        assert assert_problem(answer, 503)["type"] == "/problems/database-unavailable"
        assert int(answer.headers["retry-after"]) > 0


@pytest.fixture(scope="module")
def operations(client: TestClient) -> list[dict[str, Any]]:
    document = client.get("/openapi.json").json()
    return [
        {"path": path, "method": method, **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_openapi_document_has_every_call_of_the_contract(
    operations: list[dict[str, Any]],
) -> None:
    calls = {(operation["method"], operation["path"]) for operation in operations}
    assert calls >= {
        ("post", "/api/inventory"),
        ("get", "/api/inventory"),
        ("get", "/api/inventory/{product_id}"),
        ("put", "/api/inventory/{product_id}"),
        ("delete", "/api/inventory/{product_id}"),
        ("get", "/api/inventory/{product_id}/check"),
        ("patch", "/api/inventory/{product_id}/reduce"),
        ("patch", "/api/inventory/{product_id}/restock"),
        ("patch", "/api/inventory/reduce"),
        ("post", "/api/inventory/movements/{key}/reverse"),
        ("get", "/health"),
        ("get", "/health/ready"),
        ("get", "/metrics"),
    }


def test_every_call_declares_its_tag_its_text_and_its_errors_with_examples(
    operations: list[dict[str, Any]],
) -> None:
    for operation in operations:
        if not operation["path"].startswith("/api/"):
            continue
        assert operation["tags"]
        assert operation["summary"]
        assert operation["description"]
        assert {"422", "503"} <= operation["responses"].keys()
        if "{product_id}" in operation["path"]:
            assert {"400", "404"} <= operation["responses"].keys()
        for status, response in operation["responses"].items():
            if status >= "400":
                problem = response["content"]["application/problem+json"]
                assert problem["examples"], (operation["path"], status)


def test_no_schema_promises_null_where_null_is_refused(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"]["ItemChanges"]
    assert "null" not in str(schema["properties"]).lower()
