"""Fixtures of the integration tests: a migrated database, fake peers, the app, a client."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.main import create_app
from tests.fakes import FakeCatalogue, FakeInventory

pytest_plugins = ["fleet.testing.fixtures"]

HERE = Path(__file__).parent.parent
UNREACHABLE = "127.0.0.1:1"  # most tests need no broker


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> str:
    """Return a new database with this service's tables, created by its migrations."""
    migrate(postgres_url)
    return postgres_url


def migrate(url: str) -> None:
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    environment = {**os.environ, "DATABASE_URL": url}
    subprocess.run(command, cwd=HERE, env=environment, check=True, capture_output=True)


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Any]:
    """Empty the tables; return a connection to read and change rows."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    await connection.execute("TRUNCATE orders, order_items, idempotency_keys, outbox")
    yield connection
    await connection.close()


@pytest.fixture
async def inventory() -> AsyncIterator[FakeInventory]:
    async with FakeInventory(stock={"p": 1_000, "q": 1_000}).serve() as fake:
        yield fake


@pytest.fixture
async def catalogue() -> AsyncIterator[FakeCatalogue]:
    """Return an empty catalogue: unless a test sets a price, only inventory knows the products."""
    async with FakeCatalogue().serve() as fake:
        yield fake


@pytest.fixture
def settings(database_url: str, inventory: FakeInventory, catalogue: FakeCatalogue) -> Settings:
    return Settings(
        environment="test",
        log_level="ERROR",
        database_url=database_url,
        inventory_service_url=inventory.url,
        product_service_url=catalogue.url,
        kafka_bootstrap_servers=UNREACHABLE,
        recovery_interval=0.05,
    )


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Run the app with its lifespan; yield a client."""
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://orders") as client:
            yield client


@pytest.fixture
async def client(settings: Settings, sql: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with running(create_app(settings)) as client:
        yield client


def order_of(*pieces: tuple[str, int], email: str = "alice@example.com") -> dict[str, Any]:
    """Return the body of an order with these quantities, at 10.50 each."""
    return {
        "customer_name": "Alice Example",
        "customer_email": email,
        "items": [
            {"product_id": p, "product_name": f"Product {p}", "quantity": n, "unit_price": 10.5}
            for p, n in pieces
        ],
    }


@pytest.fixture(autouse=True)
def _settings_of_the_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the environment of the shell that started pytest."""
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "AUTH_REQUIRED"):
        monkeypatch.delenv(name, raising=False)
