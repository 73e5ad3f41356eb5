"""``make seed``: create the demo products and their stock through the APIs. Idempotent."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from importlib import resources
from typing import TYPE_CHECKING, Any

from fleet.errors import FleetError
from fleet.launcher.composition import Fleet
from fleet.processes.program import run_async
from fleet.terminal import say

if TYPE_CHECKING:
    import httpx2

Product = dict[str, Any]

_AT_ONCE = 4

EXAMPLE = {
    "id": "6568f0a1c2d3e4f5a6b7c8d9",
    "name": "Wireless Headphones",
    "stock_quantity": 1_000,
}
"""The product of the OpenAPI examples. It exists in inventory-service only."""


def catalogue() -> list[Product]:
    """Return the products of catalogue.json with the URL of their generated picture."""
    text = resources.files("fleet.tools").joinpath("catalogue.json").read_text(encoding="utf-8")
    products: list[Product] = json.loads(text, parse_float=Decimal)
    for product in products:
        product["price"] = float(product["price"])  # a JSON number, as clients send it
        product["image_url"] = f"/api/products/images/{slug(product['name'])}.svg"
    return products


def slug(name: str) -> str:
    """Return a product's name as part of a URL."""
    kept = "".join(char if char.isascii() and char.isalnum() else " " for char in name.lower())
    return "-".join(kept.split())


def seed(fleet: Fleet) -> list[Product]:
    """Create missing products; return all products of the catalogue file from the API."""
    began = time.monotonic()
    products, inventory = fleet.service("product-service"), fleet.service("inventory-service")
    created, served = run_async(_seed(products.url, inventory.url))
    seconds = time.monotonic() - began
    say(f"Catalogue: {created} products created, {len(served)} for sale ({seconds:.1f} s).")
    return served


async def _seed(products: str, inventory: str) -> tuple[int, list[Product]]:
    import httpx2

    gate = asyncio.Semaphore(_AT_ONCE)
    try:
        async with httpx2.AsyncClient(timeout=10, trust_env=False) as client:
            there = {product["name"]: product for product in await _existing(client, products)}
            wanted = catalogue()
            missing = [product for product in wanted if product["name"] not in there]

            async def offer(product: Product) -> Product:
                async with gate:
                    served = there.get(product["name"]) or await _create(client, products, product)
                    await _stock(client, inventory, served)
                    return served

            served = await asyncio.gather(*(offer(product) for product in wanted))
            await _stock(client, inventory, EXAMPLE)
    except httpx2.TransportError as error:
        raise FleetError(f"A service did not answer ({error}). See: make status") from error
    return len(missing), list(served)


async def _existing(client: httpx2.AsyncClient, products: str) -> list[Product]:
    found: list[Product] = []
    for page in range(1, 101):
        parameters = {"page": page, "page_size": 100}
        answer = await client.get(f"{products}/api/products", params=parameters)
        body = _accept(answer, 200)
        found += body["products"]
        if len(found) >= body["total"] or not body["products"]:
            break
    return found


async def _create(client: httpx2.AsyncClient, products: str, product: Product) -> Product:
    created: Product = _accept(await client.post(f"{products}/api/products", json=product), 201)
    return created


async def _stock(client: httpx2.AsyncClient, inventory: str, product: Product) -> None:
    """Create the product's stock; status 409 means that it exists."""
    item = {
        "product_id": product["id"],
        "product_name": product["name"],
        "quantity": product["stock_quantity"],
    }
    _accept(await client.post(f"{inventory}/api/inventory", json=item), 201, 409)


def _accept(answer: httpx2.Response, *expected: int) -> Any:
    if answer.status_code not in expected:
        asked = f"{answer.request.method} {answer.request.url}"
        raise FleetError(f"{asked} answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()
