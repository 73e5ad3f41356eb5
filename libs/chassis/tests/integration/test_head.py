"""HEAD is answered as GET without the body (RFC 9110, section 9.3.2), through a real server."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from chassis.app.factory import add_routes, service_app
from chassis.app.graceful_shutdown import DrainingProtocol
from chassis.app.health import health_router
from chassis.observability.metrics import metrics_router, new_registry
from chassis.settings import ServiceSettings

VARYING = {"date", "x-trace-id"}
ended = asyncio.Event()


def build_app() -> FastAPI:
    registry = new_registry()
    app = service_app(ServiceSettings(service_name="things"), registry, None)  # type: ignore[arg-type]

    @app.get("/things/{thing_id}")
    async def read(thing_id: str) -> dict[str, str]:
        return {"id": thing_id}

    @app.put("/things/{thing_id}")
    async def change(thing_id: str) -> None: ...

    @app.post("/things")
    async def create() -> None: ...

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def endless() -> AsyncIterator[str]:
            try:
                while True:
                    yield "data: tick\n\n"
                    await asyncio.sleep(0.01)  # interval of the events
            finally:
                ended.set()

        return StreamingResponse(endless(), media_type="text/event-stream")

    add_routes(app, health_router("things"), metrics_router(registry))
    return app


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    config = uvicorn.Config(build_app(), port=0, http=DrainingProtocol, log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client
    server.should_exit = True
    await task


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/health/ready",
        "/docs",
        "/docs/swagger-ui.css",
        "/openapi.json",
        "/things/1",
        "/no",
    ],
)
async def test_head_has_the_status_and_headers_of_get(
    client: httpx2.AsyncClient, path: str
) -> None:
    get, head = await client.get(path), await client.head(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert int(head.headers["content-length"]) == len(get.content)
    kept = [
        {name: value for name, value in answer.headers.items() if name not in VARYING}
        for answer in (get, head)
    ]
    assert kept[0].keys() == kept[1].keys()
    assert kept[0] == kept[1] or path == "/health/ready"  # its body contains durations


async def test_head_of_the_metrics_names_their_media_type(client: httpx2.AsyncClient) -> None:
    head = await client.head("/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/plain")
    assert int(head.headers["content-length"]) > 1_000


async def test_head_of_an_endless_stream_ends(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(5):
        head = await client.head("/stream")
        await ended.wait()
    assert head.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in head.headers


async def test_head_leaves_the_connection_usable(client: httpx2.AsyncClient) -> None:
    for _ in range(3):
        assert (await client.head("/things/1")).status_code == 200
        assert (await client.get("/things/1")).json() == {"id": "1"}


async def test_head_without_a_get_route_is_405(client: httpx2.AsyncClient) -> None:
    head = await client.head("/things")
    assert (head.status_code, head.headers["allow"]) == (405, "POST")


async def test_allow_names_every_method_of_the_path(client: httpx2.AsyncClient) -> None:
    refused = await client.delete("/things/1")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, PUT")
    assert (await client.post("/health")).headers["allow"] == "GET, HEAD"


async def test_head_is_measured_as_head_with_its_route(client: httpx2.AsyncClient) -> None:
    await client.head("/things/7")
    metrics = (await client.get("/metrics")).text
    assert 'method="HEAD",route="/things/{thing_id}",status="200"' in metrics
