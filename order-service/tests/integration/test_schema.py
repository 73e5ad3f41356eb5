"""The migrations create the tables that the models describe."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from app.models.order import Base
from chassis.postgres.engine import driver_url

CONSTRAINTS = """
    SELECT conrelid::regclass::text AS owner, conname, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"


def differences(connection: Connection) -> list[Any]:
    options = {"compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, Base.metadata))


async def test_autogenerate_finds_no_difference(database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


@pytest.fixture
async def created_url(database_url: str) -> AsyncIterator[str]:
    """A database whose tables are created from the models."""
    name = f"test_{uuid4().hex[:12]}"
    url = f"{database_url.rpartition('/')[0]}/{name}"
    admin = await asyncpg.connect(driver_url(database_url))
    await admin.execute(f"CREATE DATABASE {name}")
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    yield url
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.mark.parametrize("query", [CONSTRAINTS, INDEXES], ids=["constraints", "indexes"])
async def test_models_and_migrations_create_the_same(
    database_url: str, created_url: str, query: str
) -> None:
    """Autogenerate compares neither check constraints nor the conditions of partial indexes."""
    migrated, created = [await rows(url, query) for url in (database_url, created_url)]
    assert migrated - {one for one in migrated if "alembic_version" in str(one)} == created


async def rows(url: str, query: str) -> set[tuple[Any, ...]]:
    connection = await asyncpg.connect(driver_url(url))
    found = {tuple(row) for row in await connection.fetch(query)}
    await connection.close()
    return found
