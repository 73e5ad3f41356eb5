"""Idempotency-Key on POST /api/orders: one key, one order, one response."""

import asyncio
import json
import re
import unicodedata
from collections import Counter
from typing import Any

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from app.schemas.order import OrderIn
from app.services.order_service import CallerKey
from tests.conftest import order_of, running
from tests.fakes import FakeInventory


async def place(
    client: httpx2.AsyncClient, key: str, quantity: int = 1, **more: Any
) -> httpx2.Response:
    body = order_of(("p", quantity), **more)
    return await client.post("/api/orders", json=body, headers={"Idempotency-Key": key})


async def test_promise_10_fifty_requests_with_one_key_make_one_order(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    """Promise 10: concurrently and later, every 201 has the same bytes."""
    answers = await asyncio.gather(*(place(client, "k") for _ in range(50)))
    answers += [await place(client, "k") for _ in range(3)]
    assert set(Counter(a.status_code for a in answers)) <= {201, 409}
    assert len({a.content for a in answers if a.status_code == 201}) == 1
    assert [a.status_code for a in answers[-3:]] == [201, 201, 201]
    assert all(int(a.headers["retry-after"]) <= 30 for a in answers if a.status_code == 409)
    assert await sql.fetchval("SELECT count(*) FROM orders") == 1
    assert await sql.fetchval("SELECT count(*) FROM outbox") == 1
    assert inventory.stock["p"] == 999


async def test_order_counts_once_in_the_value_of_orders(client: httpx2.AsyncClient) -> None:
    async def value() -> float:
        page = (await client.get("/metrics")).text
        found = re.search(r"^order_value_total (\S+)$", page, re.MULTILINE)
        assert found
        return float(found[1])

    before = await value()
    total = (await place(client, "k", quantity=3)).json()["total_amount"]
    await place(client, "k", quantity=3)
    assert total > 0
    assert await value() - before == pytest.approx(total)


async def test_promise_11_same_key_with_another_body_is_422(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    """Promise 11."""
    assert (await place(client, "k")).status_code == 201
    response = await place(client, "k", quantity=2)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert inventory.stock["p"] == 999


async def test_promise_12_key_belongs_to_its_principal(
    client: httpx2.AsyncClient, sql: Any
) -> None:
    """Promise 12: equal keys of different principals are different keys."""
    alice = await place(client, "k")
    bob = await place(client, "k", email="bob@example.com")
    assert bob.status_code == 201
    assert bob.json()["id"] != alice.json()["id"]
    assert (await place(client, "k", email="ALICE@example.com")).status_code == 422
    assert await sql.fetchval("SELECT count(*) FROM orders") == 2


async def test_promise_14_key_expires_after_a_day(client: httpx2.AsyncClient, sql: Any) -> None:
    """Promise 14: a key expires after 24 hours, not earlier."""
    first = await place(client, "k")
    age = "UPDATE idempotency_keys SET created_at = now() - interval '{}'"
    await sql.execute(age.format("23 hours 59 minutes"))
    assert (await place(client, "k")).content == first.content
    await sql.execute(age.format("24 hours 1 minute"))
    again = await place(client, "k", quantity=2)
    assert again.status_code == 201
    assert again.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é"])
async def test_promise_14_malformed_key_is_400(
    client: httpx2.AsyncClient, sql: Any, key: str
) -> None:
    """Promise 14."""
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    response = await client.post("/api/orders", json=order_of(("p", 1)), headers=headers)
    assert response.status_code == 400
    assert await sql.fetchval("SELECT count(*) FROM orders") == 0


async def test_promise_15_refused_request_does_not_use_up_its_key(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    """Promise 15: invalid body, insufficient stock and order, all with one key."""
    assert (await place(client, "k", quantity=0)).status_code == 422
    assert (await place(client, "k", quantity=2_000)).status_code == 400
    inventory.stock["p"] = 5
    assert (await place(client, "k", quantity=3)).status_code == 201


async def test_order_refused_at_the_reduction_releases_its_key(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any
) -> None:
    """The check passed and the reduction failed: another order took the stock in between."""
    original = inventory.reduce

    def too_late(key: str, pieces: dict[str, int]) -> Any:
        inventory.stock["p"] = 0
        return original(key, pieces)

    inventory.reduce = too_late  # type: ignore[method-assign]
    assert (await place(client, "k")).status_code == 400
    assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    inventory.reduce = original  # type: ignore[method-assign]
    inventory.stock["p"] = 1
    assert (await place(client, "k")).status_code == 201


async def test_short_stock_returns_the_201_of_a_concurrent_duplicate(
    client: httpx2.AsyncClient, inventory: FakeInventory
) -> None:
    """The duplicate takes the last piece during this request's check. Both get its 201."""
    inventory.stock["p"] = 1
    duplicates: list[httpx2.Response] = []

    async def duplicate_succeeds() -> None:
        duplicates.append(await place(client, "k"))

    inventory.before_check = duplicate_succeeds
    slower = await place(client, "k")
    assert inventory.stock["p"] == 0
    assert [slower.status_code, duplicates[0].status_code] == [201, 201]
    assert slower.content == duplicates[0].content


STORED_BY_THE_LAST_RELEASE = (
    '{"customer_name":"Alice Example","customer_email":"alice@example.com","items":'
    '[{"product_id":"p","product_name":"Product p","quantity":1,"unit_price":10.5}]}'
)


class OrderWithNote(OrderIn):
    """The request of a later release with an additional optional field."""

    note: str | None = None


async def test_key_of_the_last_release_replays_after_an_optional_field_was_added(
    settings: Settings, sql: Any
) -> None:
    """A client whose 201 was lost during a deployment still gets it."""
    app = create_app(settings)
    async with running(app) as client:
        first = await place(client, "k")
        stored = await sql.fetchval("SELECT request FROM idempotency_keys")
        assert stored == STORED_BY_THE_LAST_RELEASE
        key = CallerKey("email:alice@example.com", "k")
        for more in ({}, {"note": None}):
            request = OrderWithNote.model_validate({**order_of(("p", 1)), **more})
            again = await app.state.orders.place(request, key)
            assert (again.body, again.replayed) == (first.text, True)
    assert await sql.fetchval("SELECT count(*) FROM orders") == 1


def _reversed(document: Any) -> Any:
    """Return the document with the members of each object in the opposite order."""
    if isinstance(document, dict):
        return {name: _reversed(document[name]) for name in reversed(document)}
    return [_reversed(one) for one in document] if isinstance(document, list) else document


async def test_equivalent_json_with_same_key_is_a_replay(
    client: httpx2.AsyncClient, sql: Any
) -> None:
    body = {**order_of(("p", 2)), "customer_name": "Zo\u00eb"}
    text = json.dumps(body)
    spellings = [
        text,
        json.dumps(_reversed(body), indent=3),
        text.replace("10.5", "10.50"),
        text.replace("10.5", "1.05e1"),
        json.dumps(body, ensure_ascii=False),
        unicodedata.normalize("NFD", json.dumps(body, ensure_ascii=False)),
    ]
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    answers = [
        await client.post("/api/orders", content=spelling.encode(), headers=headers)
        for spelling in spellings
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (201, answers[0].content)
    }
    assert await sql.fetchval("SELECT count(*) FROM orders") == 1


async def test_only_a_replayed_response_has_the_replayed_header(
    client: httpx2.AsyncClient,
) -> None:
    first, again = [await place(client, "k") for _ in range(2)]
    other_body = await place(client, "k", quantity=2)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (other_body.status_code, "idempotent-replayed" in other_body.headers) == (422, False)
