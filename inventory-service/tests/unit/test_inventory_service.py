"""Rules of inventory-service that need no database, and the validation of its API."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import InsufficientStock, UnknownProduct
from app.main import create_app
from app.metrics import StockMetrics
from app.models.inventory import InventoryItem
from app.repositories.ledger_repository import new_key
from app.schemas.inventory import ReductionLine
from app.services.low_stock import LowStockWatch
from app.services.stock_service import summed
from tests.conftest import SettingsFactory
from tests.stock import assert_problem, path_of

KEY = {"Idempotency-Key": "k"}
JSON = {"content-type": "application/json"}


def lines(*pairs: tuple[str, int]) -> list[ReductionLine]:
    return [ReductionLine(product_id=product, quantity=n) for product, n in pairs]


def test_summed_adds_equal_products_in_byte_order() -> None:
    pieces = summed(lines(("b", 1), ("a", 2), ("b", 3), ("B", 1), ("é", 1)))
    assert list(pieces.items()) == [("B", 1), ("a", 2), ("b", 4), ("é", 1)]


def test_generated_key_has_a_space_that_no_caller_can_send() -> None:
    key = new_key("adjust")
    assert key.startswith("adjust ")  # an Idempotency-Key has no space
    assert key != new_key("adjust")


def test_insufficient_stock_names_requested_and_available() -> None:
    problem = InsufficientStock([("a", 5, 3), ("b", 2, 0)])
    assert problem.detail == (
        "Insufficient stock for a: requested 5, available 3; b: requested 2, available 0."
    )
    assert UnknownProduct("a", "b").detail == "Inventory does not know products a, b."


class FakeConnection:
    """Records the parameters of each statement."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    async def execute(self, _statement: object, values: dict[str, Any]) -> None:
        self.written.append(values)


CROSSINGS = [
    # before, after, threshold, event expected
    (10, 9, 10, True),
    (10, 10, 10, False),
    (11, 10, 10, False),
    (9, 8, 10, False),
    (1_000, 0, 10, True),
    (9, 10, 10, False),
    (9, 1_000, 10, False),
    (1, 0, 1, True),
    (1, 0, 0, False),
]


@pytest.mark.parametrize(("before", "after", "threshold", "told"), CROSSINGS)
async def test_low_stock_event_only_for_a_downward_crossing(
    before: int, after: int, threshold: int, told: bool
) -> None:
    connection, metrics = FakeConnection(), StockMetrics(CollectorRegistry())
    watch = LowStockWatch(threshold, metrics)
    now = datetime.now(UTC)
    item = InventoryItem(
        id=uuid4(),
        product_id="p",
        product_name="P",
        quantity=after + 5,
        reserved_qty=5,
        created_at=now,
        updated_at=now,
    )
    await watch.note(cast(AsyncConnection, connection), item, before)
    assert [values["outbox_key"] for values in connection.written] == ["p"] * told
    assert metrics.low_crossings._value.get() == told


def test_reduction_is_counted_by_its_outcome() -> None:
    registry = CollectorRegistry()
    metrics = StockMetrics(registry)
    with pytest.raises(UnknownProduct), metrics.reduction():
        raise UnknownProduct("a-product-that-must-not-be-a-label")
    with metrics.reduction() as outcome:
        outcome.name = "replayed"
    with pytest.raises(ZeroDivisionError), metrics.reduction():
        _ = 1 // 0
    for name in ("unknown-product", "replayed", "failed"):
        value = registry.get_sample_value("stock_reductions_total", {"outcome": name})
        assert value == 1


@pytest.fixture(scope="module")
def client(make_settings: SettingsFactory) -> Iterator[TestClient]:
    """PostgreSQL and Kafka are unreachable: any I/O returns 503."""
    with TestClient(create_app(make_settings()), raise_server_exceptions=False) as client:
        yield client


BAD_IDS = ["", " ", "%20", "%00", "%0A", "%7F", "%FF", "%C3", "%ED%A0%80", "x" * 101, "%F0%9F" * 40]


@pytest.mark.parametrize("bad", BAD_IDS[2:])
def test_malformed_product_id_returns_400_for_every_method(client: TestClient, bad: str) -> None:
    """The id is validated before the body."""
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
def test_reverse_with_malformed_key_returns_400(client: TestClient, bad: str) -> None:
    assert_problem(client.post(f"/api/inventory/movements/{bad}/reverse"), 400)


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "\x7f", "é"])
@pytest.mark.parametrize("path", ["reduce", "p/reduce", "p/restock"])
def test_malformed_idempotency_key_returns_400(client: TestClient, path: str, key: str) -> None:
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
def test_quantity_outside_1_to_1000000_returns_422(client: TestClient, number: str) -> None:
    body = f'{{"quantity": {number}}}'
    for path in ("p/reduce", "p/restock"):
        answer = client.patch(f"/api/inventory/{path}", content=body, headers={**JSON, **KEY})
        assert_problem(answer, 422)


@pytest.mark.parametrize("number", sorted({*BAD_QUANTITIES, "100000001"} - {"1000001"}))
def test_reduction_line_accepts_up_to_100000000_pieces(client: TestClient, number: str) -> None:
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
def test_invalid_body_returns_422_without_the_input(
    client: TestClient, method: str, path: str, body: str
) -> None:
    url = f"/api/inventory{path}"
    answer = client.request(method, url, content=body, headers={**JSON, **KEY})
    for item in assert_problem(answer, 422)["detail"]:
        assert item.keys() == {"loc", "msg", "type"}


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.5", ""])
def test_limit_outside_1_to_100_returns_422(client: TestClient, limit: str) -> None:
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
def test_foreign_cursor_returns_400(client: TestClient, cursor: str) -> None:
    answer = client.get("/api/inventory", params={"cursor": cursor})
    assert assert_problem(answer, 400)["type"] == "/problems/invalid-cursor"


@pytest.mark.parametrize("quantity", ["0", "-1", "1000000001", "x", "1.5", "", "9" * 5_000])
def test_check_with_invalid_quantity_returns_422(client: TestClient, quantity: str) -> None:
    answer = client.get("/api/inventory/p/check", params={"quantity": quantity})
    assert_problem(answer, 422)


def test_check_without_quantity_returns_422(client: TestClient) -> None:
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
    """Promise 54. There is no redirect either: it would name this service's host."""
    assert_problem(client.request(method, path), status)


def test_body_over_the_limit_returns_413(client: TestClient) -> None:
    answer = client.post("/api/inventory", content=b"x" * 1_000_001, headers=JSON)
    assert_problem(answer, 413)


def test_valid_call_without_a_database_returns_503(client: TestClient) -> None:
    """It also shows that the calls above are refused without I/O: they would return 503."""
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


def test_openapi_has_every_operation_of_the_contract(
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


def test_every_operation_declares_tag_summary_and_errors_with_examples(
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


def test_item_changes_schema_has_no_null(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"]["ItemChanges"]
    assert "null" not in str(schema["properties"]).lower()
