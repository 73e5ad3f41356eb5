"""Shared fixtures: a fake catalogue, a fake Groq, the app and a client."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.main import create_app
from app.retrieval.language import Languages, load_languages
from tests.fakes import FakeCatalogue, FakeGroq
from tests.samples import seed_rows

pytest_plugins = ["fleet.testing.fixtures"]

NO_BROKER = "127.0.0.1:1"  # no broker: most tests need none
ENVIRONMENT_VARIABLES = (
    "GROQ_API_KEY",
    "GROQ_BASE_URL",
    "PRODUCT_SERVICE_URL",
    "KAFKA_BOOTSTRAP_SERVERS",
)


@pytest.fixture(autouse=True)
def _settings_of_the_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove settings of the calling shell, so that no test calls a real model."""
    for name in ENVIRONMENT_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def languages() -> Languages:
    return load_languages()


@pytest.fixture
async def products() -> AsyncIterator[FakeCatalogue]:
    fake = FakeCatalogue(seed_rows())
    async with fake.serve():
        yield fake


@pytest.fixture
async def groq() -> AsyncIterator[FakeGroq]:
    fake = FakeGroq()
    async with fake.serve():
        yield fake


def settings_for(products: FakeCatalogue, **changes: Any) -> Settings:
    return Settings(
        **{
            "environment": "test",
            "log_level": "ERROR",
            "product_service_url": products.url,
            "kafka_bootstrap_servers": NO_BROKER,
            "catalogue_refresh_seconds": 0.05,
            "model_rate_limit": "100000/minute",
            **changes,
        }
    )


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """Run the app with its lifespan. Return a client of it."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://ai", timeout=30
        ) as client:
            client.app = app  # type: ignore[attr-defined]
            yield client


async def loaded(app: FastAPI) -> None:
    """Read the catalogue once."""
    await app.state.catalogue.refresh()


Start = Callable[..., Any]


@pytest.fixture
async def start(products: FakeCatalogue) -> AsyncIterator[Start]:
    """A function that starts the app with changed settings and reads the catalogue."""
    async with AsyncExitStack() as stack:

        async def begin(**changes: Any) -> httpx2.AsyncClient:
            client = await stack.enter_async_context(running(settings_for(products, **changes)))
            await loaded(client.app)  # type: ignore[attr-defined]
            return client

        yield begin


@pytest.fixture
async def client(start: Start) -> httpx2.AsyncClient:
    """A client of the app without a model."""
    found: httpx2.AsyncClient = await start()
    return found


@pytest.fixture
async def with_model(start: Start, groq: FakeGroq) -> httpx2.AsyncClient:
    """A client of the app with the fake Groq."""
    found: httpx2.AsyncClient = await start(groq_api_key="key", groq_base_url=groq.url)
    return found


async def chat(client: httpx2.AsyncClient, message: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/api/ai/chat", json={"message": message, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
