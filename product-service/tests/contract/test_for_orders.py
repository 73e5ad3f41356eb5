"""Contract with order-service: the price lookup, and invalid requests."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from fleet.testing import http_contract
from tests.conftest import NewBody
from tests.support import assert_problem

SCRIPT = Path(__file__).parents[3] / "contracts" / "http" / "prices-for-orders.json"
PRICES = "/api/products/prices"


async def test_responses_match_contract_of_order_service(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    ids = {}
    for name, price in http_contract.load(SCRIPT)["products"].items():
        new = body(name=f"Product {name}", price=price or 1)
        product = (await client.post("/api/products", json=new)).json()
        ids[name] = product["id"]
        if price is None:
            await client.delete(f"/api/products/{product['id']}")
    await http_contract.play(client, http_contract.load(SCRIPT, ids)["steps"])


@pytest.mark.parametrize(
    "question",
    [
        None, {}, {"product_ids": []}, {"product_ids": ["x"] * 101}, {"product_ids": "x"},
        {"product_ids": [""]}, {"product_ids": [" "]}, {"product_ids": ["x" * 101]},
        {"product_ids": ["\x00"]}, {"product_ids": [7]}, {"product_ids": [{"$gt": ""}]},
        {"product_ids": ["x"], "more": 1},
    ],
)  # fmt: skip
async def test_invalid_price_request_returns_422(client: httpx2.AsyncClient, question: Any) -> None:
    assert_problem(await client.post(PRICES, json=question), 422)


async def test_hundred_ids_of_hundred_characters_are_accepted(
    client: httpx2.AsyncClient,
) -> None:
    requested = [f"{number:03}" + "漢" * 97 for number in range(100)]
    answer = await client.post(PRICES, json={"product_ids": requested})
    assert [row["product_id"] for row in answer.json()["prices"]] == requested


async def test_price_lookup_returns_changed_name_at_once(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    product = (await client.post("/api/products", json=body(name="Lamp"))).json()
    await client.put(f"/api/products/{product['id']}", json={"name": "Desk lamp"})
    answer = await client.post(PRICES, json={"product_ids": [product["id"]]})
    assert answer.json()["prices"][0]["name"] == "Desk lamp"


async def test_price_lookup_returns_changed_price_at_once(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    product = (await client.post("/api/products", json=body(price=10))).json()
    for price in (12.34, 0.01, 9_999_999_999.99):
        await client.put(f"/api/products/{product['id']}", json={"price": price})
        answer = await client.post(PRICES, json={"product_ids": [product["id"]]})
        assert answer.json()["prices"][0]["price"] == price


async def test_path_of_price_lookup_is_not_a_product_id(client: httpx2.AsyncClient) -> None:
    assert_problem(await client.get(PRICES), 400)
    assert_problem(await client.delete(PRICES), 400)
