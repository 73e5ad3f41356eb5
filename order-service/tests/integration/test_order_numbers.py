"""Format and uniqueness of order numbers."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx2
import pytest

from app.services import order_factory
from tests.conftest import order_of
from tests.fakes import FakeInventory


async def place(client: httpx2.AsyncClient, **headers: str) -> httpx2.Response:
    return await client.post("/api/orders", json=order_of(("p", 1)), headers=headers)


def drawing(*suffixes: str) -> Callable[[], str]:
    """Return a generator function that draws these suffixes, one at each call."""
    remaining = iter(suffixes)
    return lambda: next(remaining)


async def test_order_number_has_the_date_and_eight_characters(client: httpx2.AsyncClient) -> None:
    """Existing clients validate this format."""
    before = datetime.now(UTC)
    numbers = [(await place(client)).json()["order_number"] for _ in range(20)]
    days = {f"{moment:%Y%m%d}" for moment in (before, datetime.now(UTC))}
    for number in numbers:
        match = re.fullmatch(r"ORD-(\d{8})-[A-Z0-9]{8}", number)
        assert match, number
        assert match[1] in days
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_taken_order_number_is_drawn_again(
    client: httpx2.AsyncClient,
    inventory: FakeInventory,
    sql: Any,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
) -> None:
    monkeypatch.setattr(
        order_factory, "_draw", drawing("AAAAAAAA", "AAAAAAAA", "AAAAAAAA", "BBBBBBBB")
    )
    first, second = await place(client), await place(client, **headers)
    assert (first.status_code, second.status_code) == (201, 201)
    numbers = [answer.json()["order_number"] for answer in (first, second)]
    assert [number[-8:] for number in numbers] == ["AAAAAAAA", "BBBBBBBB"]
    rows = await sql.fetch("SELECT order_number, status FROM orders ORDER BY created_at")
    assert [tuple(row) for row in rows] == [(number, "CONFIRMED") for number in numbers]
    assert inventory.stock["p"] == 998


async def test_database_refuses_a_second_order_with_the_same_number(
    client: httpx2.AsyncClient, sql: Any
) -> None:
    number = (await place(client)).json()["order_number"]
    await place(client)
    with pytest.raises(asyncpg.UniqueViolationError):
        await sql.execute("UPDATE orders SET order_number = $1", number)


async def test_order_with_a_number_of_the_last_release_is_read_and_listed(
    client: httpx2.AsyncClient, sql: Any
) -> None:
    placed = (await place(client)).json()
    number = "ORD-20261130-80673D6F18"  # ten characters
    await sql.execute("UPDATE orders SET order_number = $1", number)
    read = (await client.get(f"/api/orders/{placed['id']}")).json()
    listed = (await client.get("/api/orders/user/alice@example.com")).json()
    assert [order["order_number"] for order in (read, *listed)] == [number, number]
