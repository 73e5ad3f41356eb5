"""The fakes respond like the real services: contracts/http is replayed against both."""

from decimal import Decimal
from pathlib import Path

import httpx2

from fleet.testing import http_contract
from tests.fakes import FakeCatalogue, FakeInventory

SCRIPTS = Path(__file__).parents[3] / "contracts" / "http"


async def test_fake_inventory_fulfils_the_contract(inventory: FakeInventory) -> None:
    script = http_contract.load(SCRIPTS / "inventory-for-orders.json")
    inventory.stock |= script["stock"]
    async with httpx2.AsyncClient(base_url=inventory.url) as client:
        await http_contract.play(client, script["steps"])


async def test_fake_catalogue_fulfils_the_contract(catalogue: FakeCatalogue) -> None:
    path = SCRIPTS / "prices-for-orders.json"
    products = http_contract.load(path)["products"]
    for name, price in products.items():
        catalogue.prices[name] = Decimal(str(price)) if price else None
    async with httpx2.AsyncClient(base_url=catalogue.url) as client:
        names = {name: name for name in products}
        await http_contract.play(client, http_contract.load(path, names)["steps"])
