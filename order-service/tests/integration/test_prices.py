"""Price validation of orders, with the catalogue and during its outages (contracts: Prices)."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from app.clients.inventory_client import InventoryClient
from app.clients.product_client import ProductClient
from app.config import Settings
from app.errors import CatalogueUnavailable
from app.main import create_app
from app.metrics import OrderMetrics
from app.schemas.order import OrderIn
from app.services.pre_order_checks import PreOrderChecks
from app.services.price_validation import PriceValidator
from chassis.http_client.deadline import Deadline
from tests.conftest import order_of, running
from tests.fakes import FakeCatalogue, FakeInventory

PRICE = Decimal("10.50")  # what order_of() sends
CHANGED, GONE = "/problems/price-changed", "/problems/product-unavailable"
AWAY = "/problems/catalogue-unavailable"


def priced(*items: tuple[str, float]) -> dict[str, Any]:
    """Return the body of an order for one piece of each product, at these prices."""
    body = order_of(*((product, 1) for product, _ in items))
    for item, (_, price) in zip(body["items"], items, strict=True):
        item["unit_price"] = price
    return body


async def post(
    client: httpx2.AsyncClient, body: dict[str, Any], key: str | None = None
) -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post("/api/orders", json=body, headers=headers)


def problem(response: httpx2.Response, status: int, type_: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == type_
    return document


async def nothing_is_stored(sql: Any, inventory: FakeInventory) -> None:
    assert await sql.fetchval("SELECT count(*) FROM orders") == 0
    assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    assert inventory.calls["reduce"] == 0


# --- with the catalogue ---


@pytest.mark.parametrize("sent", [0.01, 10.49, 10.51, 1050])
async def test_promise_8_wrong_price_is_409_with_the_current_price(
    client: httpx2.AsyncClient,
    inventory: FakeInventory,
    catalogue: FakeCatalogue,
    sql: Any,
    sent: float,
) -> None:
    """Promise 8."""
    catalogue.prices = {"p": PRICE, "q": PRICE}
    refused = problem(await post(client, priced(("q", 10.5), ("p", sent)), "k"), 409, CHANGED)
    assert (refused["product_id"], refused["current_price"]) == ("p", 10.5)
    assert refused["detail"] == f"p costs 10.50, not {sent:.2f}."
    await nothing_is_stored(sql, inventory)
    placed = await post(client, priced(("q", 10.5), ("p", refused["current_price"])), "k")
    assert (placed.status_code, placed.json()["total_amount"]) == (201, 21.0)


@pytest.mark.parametrize("price", ["0.01", "10.10", "79.99", "9999999999.99", "1234567890.12"])
async def test_prices_are_compared_to_the_cent(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, price: str
) -> None:
    catalogue.prices["p"] = exact = Decimal(price)
    assert (await post(client, priced(("p", float(exact))))).status_code == 201
    for wrong in (exact - Decimal("0.01"), exact + Decimal("0.01")):
        answer = await post(client, priced(("p", float(wrong))))
        assert answer.status_code == (409 if 0 < wrong < 10_000_000_000 else 422)


async def test_deleted_product_is_409_at_any_price(
    client: httpx2.AsyncClient, inventory: FakeInventory, catalogue: FakeCatalogue, sql: Any
) -> None:
    catalogue.prices = {"p": None, "q": Decimal(1)}
    refused = problem(await post(client, order_of(("q", 1), ("p", 1))), 409, GONE)
    assert refused["product_id"] == "p"
    await nothing_is_stored(sql, inventory)


async def test_product_unknown_to_the_catalogue_is_accepted_at_any_price(
    client: httpx2.AsyncClient,
) -> None:
    assert (await post(client, priced(("p", 0.01)))).status_code == 201


async def test_strict_price_check_refuses_a_product_without_a_list_price(
    settings: Settings, inventory: FakeInventory, catalogue: FakeCatalogue, sql: Any
) -> None:
    catalogue.prices["q"] = PRICE
    strict = settings.model_copy(update={"price_check": "strict"})
    async with running(create_app(strict)) as client:
        refused = problem(await post(client, order_of(("q", 1), ("p", 1))), 409, GONE)
        assert refused["product_id"] == "p"
        await nothing_is_stored(sql, inventory)
        assert (await post(client, order_of(("q", 1)))).status_code == 201


async def test_order_is_checked_against_a_price_read_after_its_arrival(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue
) -> None:
    """A price change applies to every order that arrives after it, even during a lookup."""
    catalogue.prices["p"] = PRICE
    later: list[asyncio.Task[httpx2.Response]] = []

    async def change() -> None:  # while the first order's lookup is in progress
        catalogue.prices["p"] = Decimal(7)
        later.extend(asyncio.create_task(post(client, priced(("p", 10.5)))) for _ in range(5))
        while catalogue.calls["prices"] < 6:
            await asyncio.sleep(0.001)

    catalogue.before_sending = change
    assert (await post(client, priced(("p", 10.5)))).status_code == 201
    answers = await asyncio.gather(*later)
    assert {problem(answer, 409, CHANGED)["current_price"] for answer in answers} == {7.0}


async def test_failed_lookup_of_one_order_does_not_affect_other_orders(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, inventory: FakeInventory
) -> None:
    inventory.stock["poison"] = 1_000
    catalogue.prices = {"p": PRICE, "poison": PRICE}
    catalogue.chokes_on = "poison"
    bodies = [priced(("p", 10.5)), priced(("poison", 10.5)), priced(("p", 10.5))] * 3
    answers = await asyncio.gather(*(post(client, body) for body in bodies))
    assert [answer.status_code for answer in answers] == [201, 503, 201] * 3
    assert {answer.json()["type"] for answer in answers[1::3]} == {AWAY}


@pytest.mark.parametrize("prices", [(10.5, 10.49), (10.49, 10.5)])
async def test_each_line_of_a_repeated_product_must_have_the_right_price(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, prices: tuple[float, float]
) -> None:
    catalogue.prices["p"] = PRICE
    answer = await post(client, priced(("p", prices[0]), ("p", prices[1])))
    assert problem(answer, 409, CHANGED)["current_price"] == 10.5
    assert (await post(client, priced(("p", 10.5), ("p", 10.5)))).status_code == 201
    assert catalogue.calls["prices"] == 2, "one lookup for each order"


async def test_detail_names_every_wrong_price_and_members_name_the_first(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue
) -> None:
    catalogue.prices = {"p": Decimal(3), "q": Decimal(4)}
    refused = problem(await post(client, order_of(("q", 1), ("p", 1))), 409, CHANGED)
    assert refused["detail"] == "q costs 4.00, not 10.50; p costs 3.00, not 10.50."
    assert (refused["product_id"], refused["current_price"]) == ("q", 4.0)


async def test_unknown_product_precedes_wrong_price_precedes_short_stock(
    client: httpx2.AsyncClient, inventory: FakeInventory, catalogue: FakeCatalogue
) -> None:
    inventory.stock |= {"short": 0}
    catalogue.prices = {"wrong": Decimal(1), "p": Decimal(1)}
    everything = [("short", 1), ("p", 1), ("wrong", 1)]  # no stock of `wrong` is known
    assert (await post(client, order_of(*everything))).status_code == 404
    problem(await post(client, order_of(*everything[:2])), 409, CHANGED)
    problem(await post(client, order_of(*everything[:1])), 400, "/problems/insufficient-stock")


async def test_wrong_price_is_reported_without_inventory(
    client: httpx2.AsyncClient, inventory: FakeInventory, catalogue: FakeCatalogue
) -> None:
    catalogue.prices["p"] = Decimal(1)
    inventory.down = True
    problem(await post(client, order_of(("p", 1))), 409, CHANGED)


async def test_price_change_after_the_check_does_not_affect_the_order(
    client: httpx2.AsyncClient, inventory: FakeInventory, catalogue: FakeCatalogue
) -> None:
    catalogue.prices["p"] = PRICE

    async def raise_price() -> None:
        catalogue.prices["p"] = Decimal(99)

    inventory.before_reduce_reply = raise_price
    assert (await post(client, order_of(("p", 1)))).json()["total_amount"] == 10.5
    problem(await post(client, order_of(("p", 1))), 409, CHANGED)


async def test_replay_ignores_price_changes(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue
) -> None:
    catalogue.prices["p"] = PRICE
    first = await post(client, order_of(("p", 1)), "k")
    for catalogue.prices["p"] in (Decimal(99), None):
        again = await post(client, order_of(("p", 1)), "k")
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"


async def test_wrong_price_returns_the_201_of_a_concurrent_duplicate(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, sql: Any
) -> None:
    catalogue.prices["p"] = PRICE

    async def duplicate_succeeds_and_price_rises() -> None:
        assert (await post(client, order_of(("p", 1)), "k")).status_code == 201
        catalogue.prices["p"] = Decimal(99)

    catalogue.before_answer = duplicate_succeeds_and_price_rises
    answer = await post(client, order_of(("p", 1)), "k")
    assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (201, "true")
    assert await sql.fetchval("SELECT count(*) FROM orders") == 1


async def test_product_ids_of_any_form_are_looked_up(
    client: httpx2.AsyncClient, inventory: FakeInventory, catalogue: FakeCatalogue
) -> None:
    odd = ["a/b", "..", "ü?&#%2F", "prices", " x ", "漢" * 100]
    inventory.stock |= {one.strip(): 5 for one in odd}  # ids are compared without white space
    catalogue.prices = {odd[0]: PRICE, odd[-1]: Decimal(1)}
    problem(await post(client, order_of(*((one, 1) for one in odd))), 409, CHANGED)
    assert (await post(client, order_of(*((one, 1) for one in odd[:-1])))).status_code == 201


# --- without the catalogue ---


@pytest.fixture
async def known(
    client: httpx2.AsyncClient, inventory: FakeInventory, catalogue: FakeCatalogue, sql: Any
) -> None:
    """Look up p (10.50), gone (deleted) and q (unknown), then stop the catalogue."""
    inventory.stock |= {"gone": 5, "new": 5}
    catalogue.prices = {"p": PRICE, "gone": None, "new": PRICE}
    problem(await post(client, order_of(("p", 1), ("gone", 1), ("q", 1))), 409, GONE)
    catalogue.down = True


async def test_without_the_catalogue_cached_prices_apply(
    client: httpx2.AsyncClient, known: None
) -> None:
    assert (await post(client, order_of(("p", 1), ("q", 1)))).status_code == 201
    refused = problem(await post(client, priced(("p", 0.01))), 409, CHANGED)
    assert refused["current_price"] == 10.5
    problem(await post(client, order_of(("gone", 1))), 409, GONE)


async def test_without_the_catalogue_an_uncached_price_is_503_and_stores_nothing(
    client: httpx2.AsyncClient, inventory: FakeInventory, sql: Any, known: None
) -> None:
    refused = await post(client, order_of(("p", 1), ("new", 1)), "k")
    problem(refused, 503, AWAY)
    assert int(refused.headers["retry-after"]) >= 1
    await nothing_is_stored(sql, inventory)


async def test_lookups_resume_after_an_outage(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, known: None
) -> None:
    problem(await post(client, order_of(("new", 1))), 503, AWAY)
    catalogue.down = False
    catalogue.prices["p"] = Decimal(12)
    assert (await post(client, order_of(("new", 1)))).status_code == 201
    problem(await post(client, order_of(("p", 1))), 409, CHANGED)


async def test_other_errors_precede_503_without_the_catalogue(
    client: httpx2.AsyncClient, inventory: FakeInventory, known: None
) -> None:
    inventory.stock["new"] = 0
    assert (await post(client, order_of(("new", 1)))).status_code == 400
    assert (await post(client, order_of(("nope", 1)))).status_code == 404
    problem(await post(client, priced(("new", 1), ("p", 1))), 409, CHANGED)


async def test_expired_cached_price_is_not_used(
    settings: Settings, catalogue: FakeCatalogue, sql: Any
) -> None:
    catalogue.prices["p"] = PRICE
    forgetful = settings.model_copy(update={"price_cache_ttl_seconds": 0.0})
    async with running(create_app(forgetful)) as client:
        assert (await post(client, order_of(("p", 1)))).status_code == 201
        catalogue.down = True
        problem(await post(client, order_of(("p", 1))), 503, AWAY)


async def test_orders_during_an_outage_do_not_extend_the_cache_ttl(
    settings: Settings, inventory: FakeInventory, catalogue: FakeCatalogue
) -> None:
    now, registry = [1_000.0], CollectorRegistry()
    inventory_client = InventoryClient(inventory.url, registry)
    product_client = ProductClient(catalogue.url, registry)
    metrics = OrderMetrics(registry)
    prices = PriceValidator(product_client, settings, metrics, lambda: now[0])
    checks = PreOrderChecks(inventory_client, prices)
    order = OrderIn.model_validate(order_of(("p", 1)))
    catalogue.prices["p"] = PRICE
    try:
        await checks.run(order, Deadline.after(3))
        catalogue.down = True
        for _ in range(6):
            now[0] += 99
            await checks.run(order, Deadline.after(3))
        now[0] += 6  # 600 s after the price was looked up
        with pytest.raises(CatalogueUnavailable):
            await checks.run(order, Deadline.after(3))
    finally:
        await inventory_client.close()
        await product_client.close()


async def test_unknown_ids_evict_no_cached_price(
    settings: Settings, catalogue: FakeCatalogue, sql: Any
) -> None:
    catalogue.prices["p"] = PRICE
    small = settings.model_copy(update={"price_cache_products": 1})
    async with running(create_app(small)) as client:
        assert (await post(client, order_of(("p", 1)))).status_code == 201
        assert (await post(client, order_of(("invented", 1)))).status_code == 404
        catalogue.down = True
        assert (await post(client, order_of(("p", 1)))).status_code == 201


async def test_promise_31_order_with_hanging_catalogue_ends_within_the_deadline(
    settings: Settings, catalogue: FakeCatalogue, sql: Any
) -> None:
    """Promise 31: the lookup times out early enough to use the cached price."""
    catalogue.prices["p"] = PRICE
    brisk = settings.model_copy(update={"place_deadline": 1.0})
    async with running(create_app(brisk)) as client:
        assert (await post(client, order_of(("p", 1)))).status_code == 201
        catalogue.hang = True
        started = time.perf_counter()
        assert (await post(client, order_of(("p", 1)))).status_code == 201
        assert time.perf_counter() - started < 1.0
        problem(await post(client, order_of(("q", 1))), 503, AWAY)


RUBBISH: list[tuple[int, bytes]] = [
    (200, b""),
    (200, b"<html>"),
    (200, b"[" * 100_000),
    (200, b"null"),
    (200, b"{}"),
    (200, b'{"prices": []}'),
    (200, b'{"prices": [{"product_id": "q", "state": "listed", "price": 10.5}]}'),
    (200, b'{"prices": [{"product_id": "p", "state": "listed", "price": "10.50"}]}'),
    (200, b'{"prices": [{"product_id": "p", "state": "listed", "price": 10.505}]}'),
    (200, b'{"prices": [{"product_id": "p", "state": "listed", "price": NaN}]}'),
    (200, b'{"prices": [{"product_id": "p", "state": "listed", "price": -10.5}]}'),
    (200, b'{"prices": [{"product_id": "p", "state": "listed", "price": 0}]}'),
    (200, b'{"prices": [{"product_id": "p", "state": "listed"}]}'),
    (200, b'{"prices": [{"product_id": "p", "state": "unknown", "price": 10.5}]}'),
    (200, b'{"prices": [{"product_id": "p", "state": "free"}]}'),
    (201, b'{"prices": [{"product_id": "p", "state": "unknown"}]}'),
    (404, b'{"detail": "There is nothing at this address."}'),
    (405, b"{}"),
    (422, b"{}"),
    (429, b"{}"),
    (500, b"{}"),
    (503, b"{}"),
]


@pytest.mark.parametrize("answer", RUBBISH)
async def test_invalid_response_of_the_catalogue_counts_as_an_outage(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, answer: tuple[int, bytes]
) -> None:
    catalogue.answer = answer
    problem(await post(client, order_of(("p", 1))), 503, AWAY)
    catalogue.answer = None
    catalogue.prices["p"] = PRICE
    assert (await post(client, order_of(("p", 1)))).status_code == 201
    catalogue.answer = answer
    assert (await post(client, order_of(("p", 1)))).status_code == 201


# --- metrics, readiness, OpenAPI ---


async def test_each_item_is_counted_by_its_outcome(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue, known: None
) -> None:
    await post(client, order_of(("p", 1), ("new", 1)))
    await post(client, priced(("p", 0.01)))
    text = (await client.get("/metrics")).text
    counted = {
        line.split('"')[1]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("order_price_checks_total{")
    }
    assert counted == {
        "current": 1,
        "unavailable": 1,
        "not_catalogued": 1,
        "cached": 1,
        "catalogue_down": 1,
        "changed": 1,
    }
    assert 'order_placings_total{outcome="PriceChanged"} 1.0' in text
    assert 'order_placings_total{outcome="CatalogueUnavailable"} 1.0' in text


async def test_promise_59_unavailable_catalogue_is_degraded(
    client: httpx2.AsyncClient, catalogue: FakeCatalogue
) -> None:
    """Promise 59: status 200, because orders can be read, cancelled and partly placed."""

    async def row() -> str:
        ready = await client.get("/health/ready")
        assert ready.status_code == 200
        return str(ready.json()["dependencies"]["product-service"]["status"])

    assert await row() == "UP"
    catalogue.down = True
    assert await row() == "DEGRADED"


async def test_openapi_has_examples_of_price_errors(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    answers = document["paths"]["/api/orders"]["post"]["responses"]
    examples = answers["409"]["content"]["application/problem+json"]["examples"]
    assert {"product_id", "current_price"} <= examples["PriceChanged"]["value"].keys()
    assert "product_id" in examples["ProductUnavailable"]["value"]
    unavailable = answers["503"]["content"]["application/problem+json"]["examples"]
    assert "CatalogueUnavailable" in unavailable
