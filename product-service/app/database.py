"""The MongoDB client, its indexes, and the mapping of its errors to HTTP."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from bson.errors import InvalidBSON
from prometheus_client import CollectorRegistry
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from app.config import Settings
from app.errors import CatalogueUnavailable
from app.metrics import PoolUse

log = logging.getLogger(__name__)

Document = dict[str, Any]
PRODUCTS = "products"
TOMBSTONES = "deleted_products"
INDEXING_SECONDS = 300  # indexing a large collection takes longer than an operation's deadline
CLOSING_SECONDS = 5

INDEXES = [
    IndexModel([("created_at", DESCENDING), ("_id", DESCENDING)]),
    IndexModel([("price", ASCENDING), ("_id", ASCENDING)]),
    IndexModel([("search.name", ASCENDING), ("_id", ASCENDING)]),
    IndexModel([("search.category", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)]),
    IndexModel([("search.category", ASCENDING), ("price", ASCENDING), ("_id", ASCENDING)]),
    IndexModel([("search.category", ASCENDING), ("search.name", ASCENDING), ("_id", ASCENDING)]),
    IndexModel([("changed_at", ASCENDING), ("_id", ASCENDING)]),
    # An import relies on it: two imports of one row cannot create two products.
    IndexModel([("external_id", ASCENDING)], unique=True, sparse=True),
]
TOMBSTONE_INDEXES = [
    IndexModel([("changed_at", ASCENDING), ("_id", ASCENDING)]),
]
UNUSED_INDEXES = ["search.words_1", "search.terms_1"]
"""Indexes of earlier versions."""


@contextmanager
def answering() -> Iterator[None]:
    """Convert errors of the driver to 503 with Retry-After.

    PyMongo wraps nearly every error of a connection. A reply cut off by a lost connection may still
    raise InvalidBSON, and a timeout or a socket its own OSError.
    """
    try:
        yield
    except (PyMongoError, InvalidBSON, OSError) as error:
        log.warning("database error", extra={"error": type(error).__name__})
        raise CatalogueUnavailable(CatalogueUnavailable.example, retry_after=2) from error


class Database:
    """One client per process, created in the loop that uses it, as PyMongo requires.

    Args:
        upgrade: idempotent migration of stored data, run after the indexes are created.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry | None = None,
        upgrade: Callable[[AsyncDatabase[Document]], Awaitable[None]] | None = None,
    ) -> None:
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(
            settings.mongodb_url,
            appname=settings.service_name,
            tz_aware=True,
            # One deadline for the whole operation: finding the server (serverSelectionTimeoutMS
            # is ignored beside it), waiting for a connection, retries; the server gets what is
            # left of it as maxTimeMS.
            timeoutMS=settings.mongodb_timeout_ms,
            connectTimeoutMS=settings.mongodb_timeout_ms,
            minPoolSize=settings.mongodb_min_pool_size,
            maxPoolSize=settings.mongodb_max_pool_size,
            event_listeners=[PoolUse(settings, registry)] if registry is not None else None,
        )
        self.catalogue = self._client[settings.mongodb_database]
        self._upgrade = upgrade
        self._closing = False
        self._indexing = asyncio.create_task(self._index_when_reachable())

    async def ping(self) -> None:
        await self._client.admin.command("ping")

    async def indexed(self) -> None:
        """Raise until the indexes are created. Without them requests work, but slower."""
        if not self._indexing.done():
            raise RuntimeError("not indexed yet")

    async def close(self) -> None:
        # PyMongo on Python 3.11 may swallow a cancellation (asyncio.wait_for, bpo-37658); the flag
        # and the closed client end the task nevertheless, within half a second.
        self._closing = True
        self._indexing.cancel()
        await self._client.close()
        await asyncio.wait({self._indexing}, timeout=CLOSING_SECONDS)

    async def _drop_unused_indexes(self) -> None:
        products = self.catalogue[PRODUCTS]
        for name in set(UNUSED_INDEXES).intersection(await products.index_information()):
            await products.drop_index(name)

    async def _index_when_reachable(self) -> None:
        # In the background, so that the service starts without its database.
        pause = 0.5
        while not self._closing:
            try:
                with pymongo.timeout(INDEXING_SECONDS):
                    await self.catalogue[PRODUCTS].create_indexes(INDEXES)
                    await self.catalogue[TOMBSTONES].create_indexes(TOMBSTONE_INDEXES)
                    await self._drop_unused_indexes()
                    if self._upgrade is not None:
                        await self._upgrade(self.catalogue)
            except Exception as error:
                log.warning(
                    "index creation failed, will retry", extra={"error": type(error).__name__}
                )
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  spreads load
                pause = min(pause * 2, 5.0)
            else:
                log.info("indexes created")
                return
