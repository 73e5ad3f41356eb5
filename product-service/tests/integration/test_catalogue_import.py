"""Imports and exports over HTTP, on a real server: concurrent, interrupted, too large."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil  # type: ignore[import-untyped]
import pytest
from bson import ObjectId
from fastapi import FastAPI
from pymongo import AsyncMongoClient

from app.catalogue_files.readers import MAX_FILE_BYTES
from app.config import Settings
from app.database import PRODUCTS
from fleet.processes.ports import free_port
from tests.conftest import NewBody
from tests.support import assert_problem, until

SERVICE = Path(__file__).parents[2]
CATALOGUES = SERVICE / "tests" / "catalogues"
CSV, NDJSON, JSON = "text/csv", "application/x-ndjson", "application/json"
HEADER = "sku,name,price,category,stock\n"


def rows(count: int, name: str = "Lamp") -> str:
    return HEADER + "".join(f"L-{number},{name} {number},9.50,Home,4\n" for number in range(count))


async def send(
    client: httpx2.AsyncClient, content: str | bytes, media_type: str = CSV
) -> dict[str, Any]:
    headers = {"Content-Type": media_type}
    answer = await client.post("/api/products/import", content=content, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


def counts(report: dict[str, Any]) -> tuple[int, int, int, int]:
    return report["created"], report["changed"], report["unchanged"], report["refused"]


async def stored(app: FastAPI) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await app.state.database.catalogue[PRODUCTS].find().to_list()
    return found


@pytest.mark.parametrize(
    ("name", "media_type", "accepted", "refused"),
    [("woocommerce.csv", CSV, 28, 5), ("shopify.csv", CSV, 21, 5), ("dump.json", JSON, 25, 9)],
)
async def test_real_catalogue_imported_twice_changes_nothing(
    app: FastAPI,
    client: httpx2.AsyncClient,
    name: str,
    media_type: str,
    accepted: int,
    refused: int,
) -> None:
    content = (CATALOGUES / name).read_bytes()
    assert counts(await send(client, content, media_type)) == (accepted, 0, 0, refused)
    before = await stored(app)
    assert counts(await send(client, content, media_type)) == (0, 0, accepted, refused)
    assert await stored(app) == before
    exported = await client.get("/api/products/export")
    assert exported.headers["content-type"] == NDJSON
    assert counts(await send(client, exported.content, NDJSON)) == (0, 0, accepted, 0)
    assert await stored(app) == before


async def test_imported_product_is_found_at_once_and_shows_no_external_id(
    client: httpx2.AsyncClient,
) -> None:
    report = await send(client, HEADER + "L-1,Walnut lamp,9.50,Home,4\n")
    (found,) = (await client.get("/api/products/search", params={"q": "walnut"})).json()
    assert found["id"] == report["rows"][0]["product_id"]
    assert "external_id" not in found
    one = (await client.get(f"/api/products/{found['id']}")).json()
    assert one == found
    page = (await client.get("/api/products")).json()
    assert page["products"] == [found]


async def test_imported_products_are_in_the_list_of_changes(client: httpx2.AsyncClient) -> None:
    cursor = (await client.get("/api/products/changes", params={"limit": 1_000})).json()["cursor"]
    await send(client, rows(3))

    async def listed() -> bool:
        answer = await client.get("/api/products/changes", params={"after": cursor})
        names = {row["product"]["name"] for row in answer.json()["changes"] if row["product"]}
        return names == {"Lamp 0", "Lamp 1", "Lamp 2"}

    await until(listed)


async def test_two_imports_at_once_create_each_row_once(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    reports = await asyncio.gather(*(send(client, rows(120)) for _ in range(2)))
    assert sum(report["created"] for report in reports) == 120
    assert sum(report["unchanged"] for report in reports) == 120
    documents = await stored(app)
    assert sorted(one["external_id"] for one in documents) == sorted(
        f"L-{number}" for number in range(120)
    )
    assert {one["revision"] for one in documents} == {1}


async def test_two_imports_of_different_rows_end_with_whole_rows(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    """Each product is as one of the files has it, never a mixture."""
    other = rows(60, "Mug").replace("9.50", "7.25").replace("Home", "Kitchen")
    await asyncio.gather(send(client, rows(60)), send(client, other))
    for one in await stored(app):
        fields = one["name"].split()[0], str(one["price"]), one["category"]
        assert fields in {("Lamp", "9.50", "Home"), ("Mug", "7.25", "Kitchen")}


async def test_deleted_product_is_imported_with_a_new_id(client: httpx2.AsyncClient) -> None:
    first = (await send(client, rows(1)))["rows"][0]["product_id"]
    await client.delete(f"/api/products/{first}")
    second = (await send(client, rows(1)))["rows"][0]
    assert second["outcome"] == "created"
    assert second["product_id"] != first
    asked = {"product_ids": [first, second["product_id"]]}
    prices = (await client.post("/api/products/prices", json=asked)).json()["prices"]
    assert [one["state"] for one in prices] == ["deleted", "listed"]


async def test_edited_product_keeps_its_external_id(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    product_id = (await send(client, rows(1)))["rows"][0]["product_id"]
    await client.put(f"/api/products/{product_id}", json={"name": "Edited"})
    await client.post("/api/products", json=body())
    report = await send(client, rows(1))
    assert [report["changed"], report["rows"][0]["product_id"]] == [1, product_id]


async def test_export_of_created_product_imported_again_changes_nothing(
    app: FastAPI, client: httpx2.AsyncClient, body: NewBody
) -> None:
    created = (await client.post("/api/products", json=body(name="<b>5</b> &amp; 6"))).json()
    exported = (await client.get("/api/products/export")).content
    before = await stored(app)
    assert counts(await send(client, exported, NDJSON)) == (0, 0, 1, 0)
    assert await stored(app) == before
    await client.delete(f"/api/products/{created['id']}")
    assert counts(await send(client, exported, NDJSON)) == (1, 0, 0, 0)


async def test_export_has_every_product_once_on_several_pages(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.import_service._PAGE", 20)
    await send(client, rows(60))
    lines = (await client.get("/api/products/export")).content.splitlines()
    assert len(lines) == len(set(lines)) == 60


async def test_empty_catalogue_exports_nothing(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/products/export")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "text/csv; charset=windows-1252"}, 415),
        ({"Content-Type": "text/csv", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "text/csv; charset=UTF-8; header=present"}, 200),
        ({"Content-Type": "TEXT/CSV"}, 200),
    ],
)
async def test_media_type_decides(
    client: httpx2.AsyncClient, headers: dict[str, str], status: int
) -> None:
    content = rows(1).encode()
    answer = await client.post("/api/products/import", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert_problem(answer, status)


@pytest.mark.parametrize("media_type", [CSV, NDJSON, JSON])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 1_000,
        b"\xff\xfe\x00",
        b"null",
        b'"',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"\n" * 10_000,
        b"," * 100_000,
        b'"' * 99_999,
        b"a,b\n" + b"x" * 1_000_000,
        HEADER.encode() + b"\x00,\xff,1e999999,\n",
        b"[NaN, 1e999999999, " + b"9" * 5_000 + b"]",
        b'[{"sku":"a","price":1e999999999,"name":"a","category":"b"}]',
        b'{"sku":"\\ud800","price":1,"name":"\\u0000","category":{"$ne":1}}',
    ],
)
async def test_hostile_file_has_a_clear_and_bounded_answer(
    app: FastAPI, client: httpx2.AsyncClient, media_type: str, content: bytes
) -> None:
    headers = {"Content-Type": media_type}
    answer = await client.post("/api/products/import", content=content, headers=headers)
    if answer.status_code == 200:
        assert answer.json()["refused"] > 0
    else:
        assert_problem(answer, 422)
    assert len(answer.content) < 200_000
    assert await stored(app) == []


async def test_body_of_the_largest_size_is_read_and_one_byte_more_is_413(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    first = HEADER + 'L-1,a,1,Home,1\nL-2,"'
    last = '",1,Home,1\n'
    largest = first + "x" * (MAX_FILE_BYTES - len(first) - len(last)) + last
    assert counts(await send(client, largest)) == (1, 0, 0, 1)
    headers = {"Content-Type": CSV}
    answer = await client.post("/api/products/import", content=largest + "\n", headers=headers)
    assert_problem(answer, 413)

    async def chunks() -> AsyncIterator[bytes]:
        yield rows(2).replace("L-", "M-").encode()
        for _ in range(MAX_FILE_BYTES // 65_536):
            yield b"y" * 65_536

    answer = await client.post("/api/products/import", content=chunks(), headers=headers)
    assert_problem(answer, 413)
    assert [one["external_id"] for one in await stored(app)] == ["L-1"]


# --- In a process of its own ----------------------------------------------------------------


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[tuple[str, Any]]:
    name = f"product_import_{secrets.token_hex(6)}"
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        yield name, client[name][PRODUCTS]
        await client.drop_database(name)


@contextmanager
def service(settings: Settings, database: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run the service. SIGKILL at the end."""
    port = free_port()
    env = {**os.environ, "MONGODB_URL": settings.mongodb_url, "MONGODB_DATABASE": database}
    env |= {"ENVIRONMENT": "test", "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)]
    process = subprocess.Popen([*command, "--no-access-log"], cwd=SERVICE, env=env)
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


async def is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return bool((await client.get("/health/ready")).json()["status"] == "UP")
    except httpx2.TransportError:
        return False


async def test_import_killed_in_the_middle_and_repeated_has_each_row_once(
    settings: Settings, database: tuple[str, Any]
) -> None:
    name, products = database
    total = 300
    with service(settings, name) as (url, process):
        async with httpx2.AsyncClient(base_url=url) as client:
            await until(lambda: is_ready(client), seconds=60)
            task = asyncio.create_task(send(client, rows(total)))

            async def in_the_middle() -> bool:
                return bool(await products.count_documents({}) >= 60)

            await until(in_the_middle, seconds=60, every=0.01)
            process.kill()
            with pytest.raises(httpx2.TransportError):
                await task
    before = {one["external_id"]: one["_id"] async for one in products.find()}
    assert 60 <= len(before) < total
    with service(settings, name) as (url, _):
        async with httpx2.AsyncClient(base_url=url) as client:
            await until(lambda: is_ready(client), seconds=60)
            report = await send(client, rows(total))
            # The database may have finished the write that was under way.
            assert report["created"] + report["unchanged"] == total
            assert len(before) <= report["unchanged"] < total
            assert counts(await send(client, rows(total))) == (0, 0, total, 0)
    after: dict[str, ObjectId] = {one["external_id"]: one["_id"] async for one in products.find()}
    assert await products.count_documents({}) == len(after) == total
    assert before.items() <= after.items()


async def test_body_of_100_mb_is_413_and_takes_no_memory(
    settings: Settings, database: tuple[str, Any]
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield HEADER.encode()
        for _ in range(1_600):
            yield b"x" * 65_536

    with service(settings, database[0]) as (url, process):
        async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
            await until(lambda: is_ready(client), seconds=60)
            before = process.memory_info().rss
            headers = {"Content-Type": CSV}
            answer = await client.post("/api/products/import", content=chunks(), headers=headers)
            assert_problem(answer, 413)
            assert process.memory_info().rss - before < 20_000_000
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            head = f"POST /api/products/import HTTP/1.1\r\nHost: {host}\r\nContent-Type: {CSV}\r\n"
            connection.sendall(f"{head}Content-Length: 100000000\r\n\r\n".encode())
            assert b" 413 " in connection.recv(1_000)
