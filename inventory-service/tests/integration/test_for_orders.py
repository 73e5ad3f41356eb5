"""What order-service relies on, played against the real thing."""

from pathlib import Path

import httpx2

from fleet.testing import http_contract

SCRIPT = Path(__file__).parents[3] / "contracts" / "http" / "inventory-for-orders.json"


async def test_order_service_can_rely_on_what_the_script_says(client: httpx2.AsyncClient) -> None:
    script = http_contract.load(SCRIPT)
    for product, quantity in script["stock"].items():
        body = {"product_id": product, "product_name": product, "quantity": quantity}
        assert (await client.post("/api/inventory", json=body)).status_code == 201
    await http_contract.play(client, script["steps"])
