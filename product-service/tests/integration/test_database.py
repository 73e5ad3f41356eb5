"""The service and its database: indexes, outages and concurrency."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from bson import ObjectId
from fastapi import FastAPI

from app.config import Settings
from app.database import INDEXES, PRODUCTS, TOMBSTONES
from app.main import create_app
from fleet.processes.runner import Runner
from fleet.servers.mongo import MongoServer
from tests.conftest import NewBody
from tests.support import assert_problem, indexed, running, until

UNKNOWN = "665f1c2e9b1d4c3a2f8e7d60"


async def plan(app: FastAPI, chosen: dict[str, Any]) -> str:
    """Return the server's query plan."""
    explained = await app.state.database.catalogue[PRODUCTS].find(chosen).explain()
    return str(explained["queryPlanner"]["winningPlan"])


async def test_indexes_are_created_and_used(app: FastAPI, client: httpx2.AsyncClient) -> None:
    information = await app.state.database.catalogue[PRODUCTS].index_information()
    assert {index.document["name"] for index in INDEXES} <= information.keys()
    for chosen in (
        {"search.name": {"$gte": "lamp", "$lt": "lamq"}},
        {"search.category": "home"},
        {"price": {"$gte": 1, "$lte": 2}},
        {"changed_at": {"$gt": datetime.now(UTC)}},
    ):
        assert "IXSCAN" in await plan(app, chosen)


async def test_concurrent_edits_of_different_fields_are_all_kept(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    """No lost update: seven fields, each edited five times, all concurrently."""
    one = (await client.post("/api/products", json=body())).json()
    changes: list[dict[str, Any]] = [
        {"name": "Other"},
        {"description": "changed"},
        {"price": 12.34},
        {"category": "Garden"},
        {"tags": ["changed"]},
        {"image_url": None},
        {"stock_quantity": 7},
    ]
    answers = await asyncio.gather(
        *(client.put(f"/api/products/{one['id']}", json=change) for change in changes * 5)
    )
    assert {answer.status_code for answer in answers} == {200}
    stored = (await client.get(f"/api/products/{one['id']}")).json()
    for change in changes:
        assert change.items() <= stored.items()
    # The search returns the last revision.
    found = (await client.get("/api/products/search", params={"q": "other garden changed"})).json()
    assert found == [stored]


async def test_one_of_many_concurrent_deletions_succeeds(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    one = (await client.post("/api/products", json=body())).json()
    calls = (client.delete(f"/api/products/{one['id']}") for _ in range(20))
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 19


async def test_concurrent_edit_does_not_restore_deleted_product(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    for _ in range(5):
        one = (await client.post("/api/products", json=body())).json()
        path = f"/api/products/{one['id']}"
        edits = [client.put(path, json={"stock_quantity": number}) for number in range(10)]
        await asyncio.gather(*edits[:5], client.delete(path), *edits[5:])
        assert_problem(await client.get(path), 404)


async def test_price_lookup_during_deletion_never_returns_unknown(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    """With `unknown`, an order would be accepted at any price."""

    async def states(product_id: str) -> set[str]:
        seen = {"listed"}
        while seen == {"listed"}:
            seen.add(await listed_as(client, product_id))
        return seen

    for _ in range(25):
        one = (await client.post("/api/products", json=body())).json()
        asking = [asyncio.create_task(states(one["id"])) for _ in range(6)]
        assert (await client.delete(f"/api/products/{one['id']}")).status_code == 200
        assert {frozenset(seen) for seen in await asyncio.gather(*asking)} == {
            frozenset({"listed", "deleted"})
        }


async def test_interrupted_deletion_keeps_price_and_can_be_repeated(
    app: FastAPI, client: httpx2.AsyncClient, body: NewBody
) -> None:
    """The tombstone was written, but the product still exists and no client received 200."""
    one = (await client.post("/api/products", json=body())).json()
    tombstone = {"_id": ObjectId(one["id"]), "name": one["name"]}
    await app.state.database.catalogue[TOMBSTONES].insert_one(tombstone)
    assert await listed_as(client, one["id"]) == "listed"
    assert (await client.delete(f"/api/products/{one['id']}")).status_code == 200
    assert await listed_as(client, one["id"]) == "deleted"


async def listed_as(client: httpx2.AsyncClient, product_id: str) -> str:
    answer = await client.post("/api/products/prices", json={"product_ids": [product_id]})
    return str(answer.json()["prices"][0]["state"])


# --- Database unavailable -------------------------------------------------------------------

CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/api/products", True),
    ("GET", "/api/products", None),
    ("GET", "/api/products/search?q=lamp", None),
    ("POST", "/api/products/prices", {"product_ids": [UNKNOWN]}),
    ("GET", f"/api/products/{UNKNOWN}", None),
    ("PUT", f"/api/products/{UNKNOWN}", {"price": 1}),
    ("DELETE", f"/api/products/{UNKNOWN}", None),
]


@pytest.fixture(scope="module")
async def alone() -> AsyncIterator[httpx2.AsyncClient]:
    """The service without a database server."""
    nowhere = Settings(
        environment="test",
        log_level="ERROR",
        # kingfisher:ignore  a fake password that a test searches in logs
        mongodb_url="mongodb://user:secret-word@127.0.0.1:9/?directConnection=true",
        mongodb_timeout_ms=200,
    )
    async with running(create_app(nowhere)) as client:
        yield client


async def test_promise_59_service_without_database_is_alive_and_not_ready(
    alone: httpx2.AsyncClient,
) -> None:
    """Promise 59."""
    assert (await alone.get("/health")).status_code == 200
    ready = await alone.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "DOWN")
    assert ready.json()["dependencies"]["database"]["status"] == "DOWN"
    assert "secret-word" not in ready.text
    assert (await alone.get("/api/products/images/lamp.svg")).status_code == 200


@pytest.mark.parametrize(("method", "path", "content"), CALLS)
async def test_request_without_database_returns_503_with_retry_after(
    alone: httpx2.AsyncClient, body: NewBody, method: str, path: str, content: Any
) -> None:
    content = body() if content is True else content
    answer = await alone.request(method, path, json=content)
    assert_problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1


async def test_invalid_request_without_database_is_refused_as_usual(
    alone: httpx2.AsyncClient,
) -> None:
    assert_problem(await alone.get("/api/products/malformed"), 400)
    assert_problem(await alone.get("/api/products?page=0"), 422)


async def test_service_without_database_stops_promptly(settings: Settings) -> None:
    """PyMongo may swallow a cancellation during server selection; the service still stops."""
    nowhere = {"mongodb_url": "mongodb://127.0.0.1:9/?directConnection=true"}
    away = settings.model_copy(update=nowhere | {"mongodb_timeout_ms": 30})
    for _ in range(4):
        began = time.monotonic()
        async with running(create_app(away)) as client:
            assert_problem(await client.get("/api/products"), 503)
        assert time.monotonic() - began < 4


async def ready(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/health/ready")).status_code == 200


async def test_service_started_before_database_becomes_ready(
    settings: Settings, mongo_server: Runner[MongoServer], body: NewBody
) -> None:
    name = f"product_test_{secrets.token_hex(6)}"
    own = settings.model_copy(update={"mongodb_database": name})
    mongo_server.stop()
    try:
        async with running(create_app(own)) as client:
            assert (await client.get("/health")).status_code == 200
            assert not await ready(client)
            mongo_server.start()
            await until(lambda: ready(client))
            assert (await client.get("/api/products")).json()["total"] == 0
            await indexed(client)
            assert (await client.post("/api/products", json=body())).status_code == 201
    finally:
        if not mongo_server.alive():
            mongo_server.start()


async def test_promise_59_hanging_database_shows_in_readiness_within_5_seconds(
    client: httpx2.AsyncClient, mongo_server: Runner[MongoServer]
) -> None:
    """Promise 59. A paused server accepts connections without answering: only deadlines help."""
    mongo_server.pause()
    began = time.monotonic()
    try:
        answer, health = await asyncio.gather(
            client.get("/api/products"), client.get("/health/ready")
        )
        assert_problem(answer, 503)
        assert health.status_code == 503
        assert time.monotonic() - began < 5
    finally:
        mongo_server.resume()
    await until(lambda: ready(client))
    assert (await client.get("/api/products")).status_code == 200


async def test_pool_usage_metric_returns_to_zero(
    client: httpx2.AsyncClient,
) -> None:
    await asyncio.gather(*(client.get("/api/products") for _ in range(20)))
    shown = (await client.get("/metrics")).text.splitlines()
    assert "database_connections_in_use 0.0" in shown
    assert any(line.startswith("database_connections_limit ") for line in shown)
