"""Catalogue reads over HTTP: paging, concurrent changes, and outages of product-service."""

import asyncio
import time

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from app.clients.catalogue_client import CatalogueClient, parse_products
from app.config import Settings
from chassis.http_client.client import UpstreamUnavailable
from tests.conftest import Start, chat, settings_for
from tests.fakes import FakeCatalogue
from tests.samples import many_rows, row


def client_of(products: FakeCatalogue, **changes: int) -> CatalogueClient:
    return CatalogueClient(settings_for(products, **changes), CollectorRegistry())


async def test_read_returns_all_pages(products: FakeCatalogue) -> None:
    products.rows = many_rows(1_050)
    client = client_of(products)
    found = await client.read()
    assert [p.id for p in parse_products(found.rows)] == [r["id"] for r in products.rows]
    assert max(products.pages) == 11
    await client.close()


async def test_changes_since_the_read_are_returned(products: FakeCatalogue) -> None:
    products.rows = many_rows(20)
    client = client_of(products)
    cursor = (await client.read()).cursor
    assert cursor is not None
    assert (await client.changes(cursor)).rows == {}
    gone, edited = products.rows.pop(3), products.rows[5]
    edited["price"] = 1.5
    added = row(99)
    products.rows.append(added)
    changes = await client.changes(cursor)
    assert changes.rows == {gone["id"]: None, edited["id"]: edited, added["id"]: added}
    assert (await client.changes(changes.cursor)).rows == {}
    await client.close()


async def test_release_without_list_of_changes_is_read_again(
    start: Start, products: FakeCatalogue
) -> None:
    products.lists_changes = False
    client = await start()
    products.rows.append(row(99, name="Bicycle Swift", price=499.0))
    await until_it_says(client, "a bicycle", "Bicycle Swift (499.00)")


async def test_catalogue_is_read_once(client: httpx2.AsyncClient, products: FakeCatalogue) -> None:
    """Afterwards only the changes are read."""
    before = products.pages.copy()
    products.rows.append(row(99, name="Bicycle Swift", price=499.0))
    await until_it_says(client, "a bicycle", "Bicycle Swift (499.00)")
    assert products.pages == before


async def test_read_with_deletion_between_pages_misses_no_product(products: FakeCatalogue) -> None:
    """The first product of page 2 moves to page 1, which was already read."""
    products.rows = many_rows(250)
    edge = products.rows[100]["id"]

    def delete_first(page: int) -> None:
        if page == 2:
            products.before_page = None
            del products.rows[0]

    products.before_page = delete_first
    client = client_of(products)
    found = parse_products((await client.read()).rows)
    assert edge in {product.id for product in found}
    assert len(found) == 249
    await client.close()


async def test_read_of_endless_catalogue_is_bounded(products: FakeCatalogue) -> None:
    products.rows = many_rows(500)
    client = client_of(products, catalogue_max_products=200)
    assert len((await client.read()).rows) == 200
    await client.close()


@pytest.mark.parametrize("fault", ["down", "broken"])
async def test_invalid_answer_raises_upstream_unavailable(
    products: FakeCatalogue, fault: str
) -> None:
    setattr(products, fault, True)
    client = client_of(products)
    with pytest.raises(UpstreamUnavailable):
        await client.read()
    await client.close()


async def until_it_says(client: httpx2.AsyncClient, message: str, text: str) -> None:
    deadline = time.monotonic() + 5.0
    while text not in (await chat(client, message))["reply"]:
        assert time.monotonic() < deadline, text
        await asyncio.sleep(0.02)


async def test_changed_product_is_visible_after_refresh(
    client: httpx2.AsyncClient, products: FakeCatalogue
) -> None:
    assert "nothing" in (await chat(client, "a bicycle"))["reply"]
    products.rows.append(row(99, name="Bicycle Swift", price=499.0))
    await until_it_says(client, "a bicycle", "Bicycle Swift (499.00)")
    products.rows[-1]["price"] = 450.0
    await until_it_says(client, "a bicycle", "Bicycle Swift (450.00)")
    del products.rows[-1]
    await until_it_says(client, "a bicycle", "nothing")


async def test_service_starts_and_answers_without_product_service(
    start: Start, products: FakeCatalogue
) -> None:
    from tests.conftest import running

    products.down = True
    async with running(settings_for(products)) as client:
        answer = await chat(client, "a desk lamp")
        assert answer["products"] == []
        assert "cannot see our catalogue" in answer["reply"]
        assert "my orders" in (await chat(client, "where is my order?"))["reply"]
        recommended = await client.get("/api/ai/recommendations")
        assert recommended.json() == {"recommendations": [], "source": "offline"}
        suggested = await client.post("/api/ai/suggest", json={"query": "a lamp"})
        assert suggested.json()["products"] == []
        ready = await client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["dependencies"]["product-service"]["status"] == "DEGRADED"
        products.down = False
        await until_it_says(client, "a desk lamp", "Desk Lamp Halo (69.00)")
        ready = await client.get("/health/ready")
        assert ready.json()["dependencies"]["product-service"]["status"] == "UP"


async def test_readiness_reports_outage_before_next_read(
    start: Start, products: FakeCatalogue
) -> None:
    """Promise 59."""
    client = await start(catalogue_refresh_seconds=60)
    for down, status in ((False, "UP"), (True, "DEGRADED"), (False, "UP")):
        products.down = down
        ready = await client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["dependencies"]["product-service"]["status"] == status


async def test_outage_is_bridged_until_max_age(start: Start, products: FakeCatalogue) -> None:
    client = await start(catalogue_max_age_seconds=0.8)
    products.down = True
    assert (await chat(client, "a desk lamp"))["products"]
    await until_it_says(client, "a desk lamp", "cannot see our catalogue")


def test_default_settings_bound_staleness() -> None:
    settings = Settings()
    assert settings.catalogue_refresh_seconds <= 10
    assert settings.catalogue_max_age_seconds <= 600
