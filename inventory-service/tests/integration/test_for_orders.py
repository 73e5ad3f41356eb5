"""The calls of order-service, replayed from contracts/http against the real service."""

from pathlib import Path

import httpx2

from fleet.testing import http_contract

SCRIPT = Path(__file__).parents[3] / "contracts" / "http" / "inventory-for-orders.json"


async def test_service_fulfils_the_contract_with_order_service(client: httpx2.AsyncClient) -> None:
    script = http_contract.load(SCRIPT)
    for product, quantity in script["stock"].items():
        body = {"product_id": product, "product_name": product, "quantity": quantity}
        assert (await client.post("/api/inventory", json=body)).status_code == 201
    await http_contract.play(client, script["steps"])
