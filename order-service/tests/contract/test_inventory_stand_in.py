"""The stand-in answers as the real inventory-service does: both are played the same script."""

from pathlib import Path

import httpx2

from fleet import http_contract
from tests.fakes import FakeInventory

SCRIPT = Path(__file__).parents[3] / "contracts" / "http" / "inventory-for-orders.json"


async def test_the_stand_in_plays_inventorys_part(inventory: FakeInventory) -> None:
    script = http_contract.load(SCRIPT)
    inventory.stock |= script["stock"]
    async with httpx2.AsyncClient(base_url=inventory.url) as client:
        await http_contract.play(client, script["steps"])
