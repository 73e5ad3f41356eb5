"""A migrated database, the app on it, and a client that calls the app in this process."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.main import create_app
from tests.conftest import SettingsFactory
from tests.stock import Shop

HERE = Path(__file__).resolve().parents[2]


def migrate(url: str, revision: str = "head") -> None:
    environment = {**os.environ, "DATABASE_URL": url}
    command = [sys.executable, "-m", "alembic", "upgrade", revision]
    subprocess.run(command, cwd=HERE, env=environment, check=True, capture_output=True)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """The app with its lifespan, as a server would run it."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url="http://inventory", timeout=60)


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> str:
    migrate(postgres_url)
    return postgres_url


@pytest.fixture(scope="session")
async def app(make_settings: SettingsFactory, database_url: str) -> AsyncIterator[FastAPI]:
    async with running(make_settings(database_url=database_url)) as app:
        yield app


@pytest.fixture(scope="session")
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def shop(app: FastAPI, client: httpx2.AsyncClient) -> Shop:
    return Shop(client, app.state.database)
