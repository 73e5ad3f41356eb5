"""Product ids are stored and compared in their canonical form, those of older versions too."""

import asyncio
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from chassis.postgres.engine import driver_url
from tests.conftest import SettingsFactory
from tests.integration.conftest import alembic, another_database, client_of, running
from tests.stock import Shop

CAFE, CAFE_NFD = "caf\u00e9", "cafe\u0301"


def spellings(product: str) -> list[str]:
    return [
        f"{product} ",
        f"\u00a0{product}",
        f"\u200b{product}",
        f"{product[:3]}\u2060{product[3:]}",
    ]


async def test_other_spelling_of_an_id_is_the_same_item(
    shop: Shop, client: httpx2.AsyncClient
) -> None:
    product = f"{CAFE}-{uuid4().hex[:8]}"
    body = {"product_id": product, "product_name": "Cup", "quantity": 10}
    assert (await client.post("/api/inventory", json=body)).status_code == 201
    for other in [*spellings(product), product.replace(CAFE, CAFE_NFD)]:
        url = f"/api/inventory/{quote(other, safe='')}"
        again = await client.post("/api/inventory", json=body | {"product_id": other})
        assert again.status_code == 409
        assert (await client.get(url)).json()["product_id"] == product
        assert (await client.get(f"{url}/check?quantity=1")).json()["in_stock"]
        line = {
            "items": [{"product_id": other, "quantity": 1}, {"product_id": product, "quantity": 1}]
        }
        reduced = await client.patch(
            "/api/inventory/reduce", json=line, headers={"Idempotency-Key": uuid4().hex}
        )
        assert [item["product_id"] for item in reduced.json()] == [product]
        assert (await client.patch(f"{url}/reduce", json={"quantity": 1})).status_code == 200
        assert (await client.patch(f"{url}/restock", json={"quantity": 3})).status_code == 200
        assert (await client.put(url, json={"product_name": "Cup"})).json()["quantity"] == 10
    url = f"/api/inventory/{quote(product + ' ')}"
    assert (await client.delete(url)).status_code == 200
    assert (await client.get(f"/api/inventory/{quote(product)}")).status_code == 404


async def test_case_of_an_id_counts_unless_it_is_24_hexadecimal_digits(
    client: httpx2.AsyncClient,
) -> None:
    name = uuid4().hex[:20]
    for product, status in ((f"SKU-{name}", 201), (f"sku-{name}", 201), (f"{name}ABCD", 201)):
        body = {"product_id": product, "product_name": "Cup", "quantity": 1}
        assert (await client.post("/api/inventory", json=body)).status_code == status
    body = {"product_id": f"{name}abcd", "product_name": "Cup", "quantity": 1}
    assert (await client.post("/api/inventory", json=body)).status_code == 409


OLD = """
    INSERT INTO inventory (id, product_id, product_name, quantity, reserved_qty)
    VALUES (gen_random_uuid(), $1, 'Cup', $2, $3)
"""
MOVEMENT = "INSERT INTO stock_movements (key, product_id, kind, delta) VALUES ($1, $2, $3, $4)"
KEY = "INSERT INTO movement_keys (key, request, state, answer) VALUES ($1, $2, 'taken', '[1]')"


@pytest.mark.parametrize("has_both", [False, True])
async def test_items_and_keys_of_an_older_version_keep_working(
    make_settings: SettingsFactory, database_url: str, has_both: bool
) -> None:
    """An item with another spelling is renamed, or merged with the item of the canonical id."""
    async with another_database(database_url) as url:
        await asyncio.to_thread(alembic, url, "upgrade", "0003")
        connection = await asyncpg.connect(driver_url(url))
        await connection.execute(OLD, "cup ", 7, 2)
        await connection.execute(MOVEMENT, "make-1", "cup ", "create", 10)
        await connection.execute(MOVEMENT, "order-1", "cup ", "reduce", -3)
        if has_both:
            await connection.execute(OLD, "cup", 5, 1)
            await connection.execute(MOVEMENT, "make-2", "cup", "create", 6)
            await connection.execute(MOVEMENT, "order-1", "cup", "reduce", -1)
        asked = '{"kind": "reduce", "items": [["cup ", 3], ["other", 1]]}'
        if has_both:
            asked = '{"kind": "reduce", "items": [["cup", 1], ["cup ", 3], ["other", 1]]}'
        await connection.execute(KEY, "order-1", asked)
        await asyncio.to_thread(alembic, url, "upgrade", "head")
        ledger = await connection.fetchval("SELECT sum(delta) FROM stock_movements")
        await connection.close()
        async with running(make_settings(database_url=url)) as app, client_of(app) as client:
            [item] = (await client.get("/api/inventory")).json()
            expected = ("cup", 12, 3) if has_both else ("cup", 7, 2)
            assert (item["product_id"], item["quantity"], item["reserved_qty"]) == expected
            assert ledger == item["quantity"]
            taken = 4 if has_both else 3
            lines = [
                {"product_id": "other", "quantity": 1},
                {"product_id": "cup ", "quantity": taken},
            ]
            replayed = await client.patch(
                "/api/inventory/reduce",
                json={"items": lines},
                headers={"Idempotency-Key": "order-1"},
            )
            assert (replayed.status_code, replayed.text) == (200, "[1]")
            returned = await client.post("/api/inventory/movements/order-1/reverse")
            assert returned.json() == {"returned": [{"product_id": "cup", "quantity": taken}]}
