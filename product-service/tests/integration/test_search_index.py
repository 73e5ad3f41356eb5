"""The search index of running processes: replicas, start, outage of the database."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.main import create_app
from tests.conftest import NewBody
from tests.support import indexed, running, until

PRODUCTS = "/api/products"


@pytest.fixture
async def replica(
    settings: Settings, client: httpx2.AsyncClient
) -> AsyncIterator[httpx2.AsyncClient]:
    """A second process of the service on the same database."""
    async with running(create_app(settings)) as other:
        await indexed(other)
        yield other


async def create(client: httpx2.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(PRODUCTS, json=body)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def names(client: httpx2.AsyncClient, q: str) -> list[str]:
    answer = await client.get(f"{PRODUCTS}/search", params={"q": q})
    return [one["name"] for one in answer.json()]


async def test_search_and_list_after_write_on_another_replica(
    client: httpx2.AsyncClient, replica: httpx2.AsyncClient, body: NewBody
) -> None:
    """A read that begins after the answer to a write sees it, on every replica."""
    for number in range(10):
        one, other = (client, replica) if number % 2 else (replica, client)
        created = await create(one, body(name=f"Alpha{number}", tags=[]))
        path = f"{PRODUCTS}/{created['id']}"
        assert await names(other, f"alpha{number}") == [f"Alpha{number}"]
        listed = (await other.get(PRODUCTS)).json()
        assert (listed["total"], listed["products"][0]["id"]) == (1, created["id"])
        await one.put(path, json={"name": f"Omega{number}"})
        assert await names(other, f"alpha{number}") == []
        assert await names(other, f"omega{number}") == [f"Omega{number}"]
        await one.delete(path)
        assert await names(other, f"omega{number}") == []
        assert (await other.get(PRODUCTS)).json() == {
            "products": [], "total": 0, "page": 1, "page_size": 10
        }  # fmt: skip


async def test_suggestions_and_facets_follow_within_two_seconds(
    client: httpx2.AsyncClient, replica: httpx2.AsyncClient, body: NewBody
) -> None:
    await create(client, body(name="Zylophone"))

    async def followed() -> bool:
        suggested = (await replica.get(f"{PRODUCTS}/suggest", params={"q": "zyl"})).json()
        return bool(suggested["suggestions"])

    await until(followed, seconds=2.0)
    assert (await replica.get(f"{PRODUCTS}/facets")).json()["total"] == 1


async def test_concurrent_writes_on_two_replicas_leave_equal_indexes(
    client: httpx2.AsyncClient, replica: httpx2.AsyncClient, body: NewBody
) -> None:
    async def write(one: httpx2.AsyncClient, number: int) -> None:
        created = await create(one, body(name=f"Lamp {number}"))
        path = f"{PRODUCTS}/{created['id']}"
        await asyncio.gather(
            client.put(path, json={"category": "Garden"}),
            replica.put(path, json={"tags": ["x"]}),
        )
        if number % 3 == 0:
            await (replica if number % 2 else client).delete(path)

    replicas = (client, replica)
    await asyncio.gather(*(write(replicas[number % 2], number) for number in range(30)))
    query: dict[str, Any] = {"q": "lamp", "category": "garden", "limit": 100}
    found = [(await one.get(f"{PRODUCTS}/search", params=query)).json() for one in replicas]
    assert found[0] == found[1]
    assert len(found[0]) == 20
    assert all(one["tags"] == ["x"] for one in found[0])


async def test_restarted_process_loads_all_products(
    settings: Settings, client: httpx2.AsyncClient, body: NewBody
) -> None:
    for number in range(50):
        await create(client, body(name=f"Lamp {number}"))
    async with running(create_app(settings)) as fresh:
        answer = await fresh.get(f"{PRODUCTS}/search", params={"q": "lamp", "limit": 100})
        assert answer.headers["x-total-count"] == "50"
        await indexed(fresh)
        metrics = (await fresh.get("/metrics")).text
        assert "search_index_products 50.0" in metrics


async def test_lists_come_from_the_database_until_the_index_is_loaded(
    settings: Settings, body: NewBody, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await create(client, body(name=f"Lamp {number}"))
    app: FastAPI = create_app(settings)
    never = asyncio.Event()

    async def load(_: Any) -> None:
        await never.wait()

    monkeypatch.setattr("app.services.index_updater.IndexUpdater._load", load)
    async with running(app) as starting:
        listed = (await starting.get(PRODUCTS, params={"page_size": 2})).json()
        assert (len(listed["products"]), listed["total"]) == (2, 3)
        ready = (await starting.get("/health/ready")).json()
        assert ready["status"] == "DEGRADED"
        assert ready["dependencies"]["search index"]["status"] == "DEGRADED"


async def test_changes_are_followed_from_start_to_end(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    """A client that stores the cursor sees each product's last state, and each deletion."""
    now = (await client.get(f"{PRODUCTS}/changes", params={"after": "now"})).json()
    lamp = await create(client, body(name="Lamp"))
    sofa = await create(client, body(name="Sofa"))
    await client.put(f"{PRODUCTS}/{lamp['id']}", json={"name": "Torch"})
    await client.delete(f"{PRODUCTS}/{sofa['id']}")
    seen: dict[str, Any] = {}
    cursor: str = now["cursor"]

    async def complete() -> bool:
        nonlocal cursor
        parameters: dict[str, Any] = {"limit": 2, "after": cursor}
        page = (await client.get(f"{PRODUCTS}/changes", params=parameters)).json()
        seen.update({one["product_id"]: one["product"] for one in page["changes"]})
        cursor = page["cursor"]
        return seen.get(lamp["id"], {}).get("name") == "Torch" and seen.get(sofa["id"], 1) is None

    await until(complete, seconds=15)
    assert seen[lamp["id"]] == (await client.get(f"{PRODUCTS}/{lamp['id']}")).json()


async def test_changes_after_now_are_only_later_ones(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    await create(client, body(name="Before"))
    now = (await client.get(f"{PRODUCTS}/changes", params={"after": "now"})).json()
    assert (now["changes"], now["complete"]) == ([], True)
    lamp = await create(client, body(name="After"))
    seen: list[str] = []

    async def listed() -> bool:
        query = {"after": now["cursor"]}
        page = (await client.get(f"{PRODUCTS}/changes", params=query)).json()
        seen[:] = [one["product_id"] for one in page["changes"]]
        return lamp["id"] in seen

    await until(listed)
    assert seen[-1] == lamp["id"]


async def test_index_is_filled_when_the_database_comes_later(settings: Settings) -> None:
    name = f"product_test_{secrets.token_hex(6)}"
    away = settings.model_copy(
        update={"mongodb_url": "mongodb://127.0.0.1:9/?directConnection=true",
                "mongodb_database": name, "mongodb_timeout_ms": 50}
    )  # fmt: skip
    async with running(create_app(away)) as client:
        for path in ("search?q=lamp", "suggest?q=la", "facets", "changes"):
            assert (await client.get(f"{PRODUCTS}/{path}")).status_code == 503, path
