"""Fetches of the services' OpenAPI documents: rare, bounded, and cached."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from app.config import Settings
from app.document_store import MAX_DOCUMENT_BYTES, REFETCH_SECONDS, DocumentStore
from app.upstreams import create_upstreams
from tests.unit.documents import a_document, an_operation

NOWHERE = "http://127.0.0.1:9"
PRODUCTS = a_document({("GET", "/api/products"): an_operation()})
ORDERS = a_document({("POST", "/api/orders"): an_operation()})
NOTHING = a_document({})


@dataclass
class Service:
    """A server that returns the response set by the test."""

    answer: bytes = b""
    status: int = 200
    asked: int = 0
    sent: int = 0
    trickles: bool = False
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    def __post_init__(self) -> None:
        self.let_go.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.raw_path == "/openapi.json"
        self.asked += 1
        await self.let_go.wait()
        response = web.StreamResponse(status=self.status, headers={"Location": "/elsewhere"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        size = 1 if self.trickles else 65_536
        for start in range(0, len(self.answer), size):
            part = self.answer[start : start + size]
            await response.write(part)
            self.sent += len(part)
            await asyncio.sleep(0.02 if self.trickles else 0)
        await response.write_eof()
        return response


async def serve(service: Service) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", service.port)
    await site.start()
    assert site._server is not None
    service.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    return runner


@dataclass
class Surroundings:
    products: Service
    orders: Service
    store: DocumentStore
    now: float = 0.0

    async def paths(self) -> set[str]:
        return set(json.loads(await self.store.merged())["paths"])

    async def about(self) -> str:
        return str(json.loads(await self.store.merged())["info"]["description"])

    def later(self) -> None:
        self.now += REFETCH_SECONDS


@pytest.fixture
async def around() -> AsyncIterator[Surroundings]:
    products, orders = Service(PRODUCTS), Service(ORDERS)
    runners = [await serve(products), await serve(orders)]
    settings = Settings(
        product_service_url=(products.url,),
        order_service_url=(orders.url,),
        inventory_service_url=(NOWHERE,),
        ai_service_url=(NOWHERE,),
    )
    upstreams = create_upstreams(settings, CollectorRegistry())
    for upstream in upstreams.values():
        await upstream.open()
    store = DocumentStore(upstreams, "http://id.test", timeout=0.5, clock=lambda: here.now)
    here = Surroundings(products, orders, store)
    yield here
    for service in (products, orders):
        service.let_go.set()
    await store.aclose()
    for upstream in upstreams.values():
        await upstream.aclose()
    for runner in runners:
        await runner.cleanup()


async def test_concurrent_requests_cause_one_fetch_per_30_seconds(
    around: Surroundings,
) -> None:
    answers = await asyncio.gather(*(around.store.merged() for _ in range(50)))
    assert len(set(answers)) == 1
    assert await around.paths() == {"/api/products", "/api/orders"}
    around.now += REFETCH_SECONDS - 0.001
    await around.paths()
    assert around.products.asked == 1
    around.now += 0.001
    await asyncio.gather(*(around.store.merged() for _ in range(50)))
    assert around.products.asked == 2


async def test_cancelled_request_does_not_cancel_the_fetch(around: Surroundings) -> None:
    around.products.let_go.clear()
    impatient = asyncio.create_task(around.store.merged())
    patient = asyncio.create_task(around.store.merged())
    while not around.products.asked:
        await asyncio.sleep(0.001)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    around.products.let_go.set()
    assert "/api/products" in json.loads(await patient)["paths"]
    assert around.products.asked == 1


async def test_unavailable_service_is_named_until_it_is_available(
    around: Surroundings,
) -> None:
    around.orders.status = 503
    assert await around.paths() == {"/api/products"}
    assert "order-service" in await around.about()
    around.orders.status = 200
    around.later()
    assert "/api/orders" in await around.paths()
    assert "order-service" not in await around.about()
    assert "ai-service" in await around.about()


BAD_ANSWERS = {
    "an error": (500, NOTHING),
    "a redirect": (307, NOTHING),
    "not JSON": (200, b"<html>"),
    "truncated document": (200, NOTHING[:-20]),
    "invalid structure": (200, b'{"paths": []}'),
    "too large": (200, NOTHING + b" " * MAX_DOCUMENT_BYTES),
}


@pytest.mark.parametrize(("status", "answer"), BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_invalid_response_keeps_the_last_valid_document(
    around: Surroundings, status: int, answer: bytes
) -> None:
    whole = await around.store.merged()
    around.orders.status, around.orders.answer = status, answer
    around.later()
    assert await around.store.merged() == whole
    assert around.orders.asked == 2
    around.orders.status = 200
    around.orders.answer = a_document({("GET", "/api/orders"): an_operation()})
    around.later()
    assert json.loads(await around.store.merged())["paths"]["/api/orders"].keys() == {"get"}


async def test_oversized_document_is_not_read_completely(around: Surroundings) -> None:
    around.orders.answer = b" " * 100_000_000
    assert await around.paths() == {"/api/products"}
    assert around.orders.sent < 20 * MAX_DOCUMENT_BYTES


async def test_hanging_service_delays_the_page_once_and_briefly(
    around: Surroundings,
) -> None:
    around.orders.let_go.clear()
    began = asyncio.get_running_loop().time()
    assert await around.paths() == {"/api/products"}
    assert asyncio.get_running_loop().time() - began < 2
    assert await around.paths() == {"/api/products"}
    assert around.orders.asked == 1


async def test_slow_document_is_cut_off(around: Surroundings) -> None:
    around.orders.trickles = True
    assert await around.paths() == {"/api/products"}
    assert around.orders.sent < 100
