"""Shared fixtures. Servers start only if a test uses them; unit tests need none."""

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pymongo import AsyncMongoClient

from app.config import Settings
from app.database import PRODUCTS
from app.main import create_app
from tests.support import indexed, running

pytest_plugins = ["fleet.testing.fixtures"]

NewBody = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
async def settings(mongo_url: str) -> AsyncIterator[Settings]:
    """Settings with a separate database for this session."""
    name = f"product_test_{secrets.token_hex(6)}"
    yield Settings(
        environment="test", log_level="ERROR", mongodb_url=mongo_url, mongodb_database=name
    )
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        await client.drop_database(name)


@pytest.fixture(scope="session")
async def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture(scope="session")
async def started(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with running(app) as client:
        await indexed(client)
        yield client


@pytest.fixture
async def client(app: FastAPI, started: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """The running service with an empty catalogue. Its search index follows these deletions."""
    async for stored in app.state.database.catalogue[PRODUCTS].find({}, {"_id": True}):
        await app.state.products.delete(stored["_id"])
    return started


@pytest.fixture(scope="session")
def body() -> NewBody:
    """A function that returns a product as a client sends it; keywords change or add fields."""

    def make(**fields: Any) -> dict[str, Any]:
        lamp = {
            "name": "Walnut desk lamp",
            "description": "A warm light.",
            "price": 49.9,
            "category": "Home",
            "tags": ["lamp", "walnut"],
            "image_url": "/api/products/images/walnut-desk-lamp.svg",
            "stock_quantity": 25,
        }
        return lamp | fields

    return make
