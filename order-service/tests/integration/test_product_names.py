"""Order items store the catalogue's product names instead of the client's."""

import json
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from tests.conftest import order_of, running
from tests.fakes import FakeCatalogue

PRICE = Decimal("10.50")  # what order_of() sends


async def names_of(client: httpx2.AsyncClient, sql: Any, answer: httpx2.Response) -> list[str]:
    """Return the items' names, which are the same in the response, the order and the event."""
    assert answer.status_code == 201, answer.text
    names = [item["product_name"] for item in answer.json()["items"]]
    read = (await client.get(f"/api/orders/{answer.json()['id']}")).json()
    assert [item["product_name"] for item in read["items"]] == names
    event = json.loads(
        await sql.fetchval(
            "SELECT payload FROM outbox WHERE key = $1 ORDER BY seq LIMIT 1", read["id"]
        )
    )
    assert [item["product_name"] for item in event["items"]] == names
    return names


async def test_order_stores_product_names_of_the_catalogue(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, sql: Any
) -> None:
    catalogue.prices = {"p": PRICE}
    catalogue.names = {"p": "Wireless Headphones Aria"}
    answer = await client.post("/api/orders", json=order_of(("p", 1), ("q", 1), ("p", 2)))
    assert await names_of(client, sql, answer) == [
        "Wireless Headphones Aria",
        "Product q",
        "Wireless Headphones Aria",
    ]


async def test_without_the_catalogue_the_cached_name_is_stored(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, sql: Any
) -> None:
    catalogue.prices = {"p": PRICE}
    catalogue.names = {"p": "Wireless Headphones Aria"}
    assert (await client.post("/api/orders", json=order_of(("p", 1)))).status_code == 201
    catalogue.down = True
    answer = await client.post("/api/orders", json=order_of(("p", 1)))
    assert await names_of(client, sql, answer) == ["Wireless Headphones Aria"]


async def test_catalogue_without_names_leaves_the_names_of_the_client(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, sql: Any
) -> None:
    """During a rolling upgrade product-service may still be the older release."""
    catalogue.answer = (200, b'{"prices":[{"product_id":"p","state":"listed","price":10.5}]}')
    answer = await client.post("/api/orders", json=order_of(("p", 1)))
    assert await names_of(client, sql, answer) == ["Product p"]


@pytest.mark.parametrize("renamed", [False, True])
async def test_key_compares_the_name_sent_by_the_client(
    settings: Settings, catalogue: FakeCatalogue, sql: Any, renamed: bool
) -> None:
    catalogue.prices = {"p": PRICE}
    catalogue.names = {"p": "Wireless Headphones Aria"}
    headers = {"Idempotency-Key": "k"}
    async with running(create_app(settings)) as client:
        first = await client.post("/api/orders", json=order_of(("p", 1)), headers=headers)
        catalogue.names = {"p": "Headphones Aria 2" if renamed else "Wireless Headphones Aria"}
        again = await client.post("/api/orders", json=order_of(("p", 1)), headers=headers)
        assert (again.status_code, again.content) == (201, first.content)
        other = order_of(("p", 1))
        other["items"][0]["product_name"] = "Wireless Headphones Aria"
        assert (await client.post("/api/orders", json=other, headers=headers)).status_code == 422
