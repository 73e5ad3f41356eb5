"""Keeps the search index equal to the database."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from itertools import count

from prometheus_client import CollectorRegistry, Gauge

from app.errors import CatalogueUnavailable
from app.models.changes import Position
from app.repositories.product_repository import ProductRepository
from app.search.index import SearchIndex
from chassis.backoff import RetryPolicy
from chassis.request_coalescing import QueryCoalescer

log = logging.getLogger(__name__)

_PAUSE = 0.7  # seconds between two reads of the changes
_MAX_WAIT = 1.0  # seconds that a request waits for the first products
_CATCH_UP_SECONDS = 5.0
_STEP = 20  # products between two chances for other tasks; indexing one takes 0.2 ms
_BACKOFF = RetryPolicy(backoff=0.2, backoff_max=5.0)


class IndexUpdater:
    """Loads all products at start, and then what has changed.

    A request that calls `catch_up` first sees every write that was answered before, of any replica.
    Other requests see writes of other replicas at most a second later.
    """

    def __init__(
        self,
        repository: ProductRepository,
        index: SearchIndex,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._index = index
        self._clock = clock
        self._position = Position()  # all earlier changes are in the index
        self._read_changes = QueryCoalescer(self._apply_changes)
        self._loaded = asyncio.Event()
        self._failed = False
        self._read_at = -math.inf
        self._task: asyncio.Task[None] | None = None
        products = Gauge("search_index_products", "Products in the search index", registry=registry)
        products.set_function(lambda: len(self._index))
        age = Gauge(
            "search_index_age_seconds",
            "Seconds since the last successful read of the changes",
            registry=registry,
        )
        age.set_function(lambda: self._clock() - self._read_at)

    def start(self) -> None:
        """Start in the background, because the database may be unavailable."""
        self._task = asyncio.create_task(self._run(), name="search index")

    async def stop(self, timeout: float = 1.0) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=timeout)

    @property
    def loaded(self) -> bool:
        return self._loaded.is_set()

    async def probe(self) -> None:
        """Raise until all products are loaded."""
        if not self.loaded:
            raise RuntimeError("not loaded yet")

    async def wait(self) -> None:
        """Wait a moment for the first products. Afterwards the index may still be incomplete.

        Raises:
            CatalogueUnavailable: the database has not been readable since the start.
        """
        if self.loaded:
            return
        try:
            async with asyncio.timeout(_MAX_WAIT):
                await self._loaded.wait()
        except TimeoutError:
            if self._failed:
                raise CatalogueUnavailable(CatalogueUnavailable.example, retry_after=2) from None

    async def catch_up(self) -> None:
        """Apply all changes so far.

        Raises:
            CatalogueUnavailable: the database does not answer.
        """
        try:
            await self._read_changes.get(None, _CATCH_UP_SECONDS)
        except TimeoutError:
            raise CatalogueUnavailable(CatalogueUnavailable.example, retry_after=2) from None

    async def _run(self) -> None:
        failures = count(1)
        while True:
            started = self._clock()
            try:
                position = await self._repository.latest()
                if not self.loaded:
                    await self._load()
                    self._position = position
                await self.catch_up()
                self._position = position
                if not self.loaded:
                    self._loaded.set()
                    log.info("search index loaded", extra={"products": len(self._index)})
                await self._repository.close_tombstones()
            except Exception as error:  # of any kind: the loop must not end
                self._failed = True
                log.warning("search index not updated", extra={"error": type(error).__name__})
                await asyncio.sleep(_BACKOFF.delay(next(failures)))
            else:
                failures = count(1)
                self._failed = False
                self._read_at = started
                await asyncio.sleep(_PAUSE)

    async def _load(self) -> None:
        """Index all products."""
        number = 0
        async for product in self._repository.all():
            self._index.put(product)
            number += 1
            if number % _STEP == 0:
                await asyncio.sleep(0)

    async def _apply_changes(self, _: None) -> None:
        changes = await self._repository.changed_since(self._position)
        index = self._index
        new = [one for one, number in changes.revisions.items() if number > index.revision(one)]
        for start in range(0, len(new), _STEP):
            for product in await self._repository.get_many(new[start : start + _STEP]):
                index.put(product)
        for product_id in changes.deleted:
            index.remove(product_id)
