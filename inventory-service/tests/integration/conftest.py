"""A migrated database, the app on it, and a client that calls the app in this process."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.main import create_app
from chassis.postgres.engine import driver_url
from tests.conftest import SettingsFactory
from tests.stock import Shop

HERE = Path(__file__).resolve().parents[2]


def alembic(url: str, *arguments: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url}
    command = [sys.executable, "-m", "alembic", *arguments]
    subprocess.run(command, cwd=HERE, env=environment, check=True, capture_output=True)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """Run the app with its lifespan, as a server does."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url="http://inventory", timeout=60)


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> str:
    alembic(postgres_url, "upgrade", "head")
    return postgres_url


@asynccontextmanager
async def another_database(url: str) -> AsyncIterator[str]:
    """Create an empty database on the same server; drop it at the end."""
    name = f"test_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(driver_url(url))
    await connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{url.rpartition('/')[0]}/{name}"
    finally:
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await connection.close()


@pytest.fixture(scope="session")
async def app(make_settings: SettingsFactory, database_url: str) -> AsyncIterator[FastAPI]:
    async with running(make_settings(database_url=database_url)) as app:
        yield app


@pytest.fixture(scope="session")
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture(scope="session")
async def pool(database_url: str) -> AsyncIterator["asyncpg.Pool"]:
    """Return a connection pool for tests, to query tables and to hold locks."""
    async with asyncpg.create_pool(driver_url(database_url), min_size=0) as pool:
        yield pool


@pytest.fixture
async def shop(client: httpx2.AsyncClient, pool: "asyncpg.Pool") -> Shop:
    return Shop(client, pool)
