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

log = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds between two reads of the changes
_MAX_WAIT = 1.0  # seconds that a request waits for the first products
_PAGE_SIZE = 1_000
_STEP = 20  # products between two chances for other tasks; indexing one takes 0.2 ms
_BACKOFF = RetryPolicy(backoff=0.2, backoff_max=5.0)


class IndexUpdater:
    """Loads all products at start, and then applies what has changed.

    A process applies its own writes at once. It applies those of other replicas when the list of
    changes reports them: after the repository's hold-back time and a pause of 0.5 seconds.
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
        """Raise until all products are loaded, and while the changes cannot be read."""
        if not self.loaded:
            raise RuntimeError("not loaded yet")
        if self._failed:
            raise RuntimeError("the last read failed")

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

    async def _run(self) -> None:
        failures = count(1)
        position: Position | None = None
        while True:
            started = self._clock()
            try:
                if position is None:
                    position = await self._load()
                    self._loaded.set()
                    log.info("search index loaded", extra={"products": len(self._index)})
                position = await self._apply_changes(position)
            except Exception as error:  # of any kind: the loop must not end
                self._failed = True
                log.warning("search index not updated", extra={"error": type(error).__name__})
                await asyncio.sleep(_BACKOFF.delay(next(failures)))
            else:
                failures = count(1)
                self._failed = False
                self._read_at = started
                await asyncio.sleep(_PAUSE)

    async def _load(self) -> Position:
        """Index all products. Return the position after which changes must be applied."""
        position = await self._repository.latest()
        number = 0
        async for product in self._repository.all():
            self._index.put(product)
            number += 1
            if number % _STEP == 0:
                await asyncio.sleep(0)
        return position

    async def _apply_changes(self, position: Position) -> Position:
        """Apply all changes after a position. Return the position of the last one."""
        while True:
            page = await self._repository.changes(position, _PAGE_SIZE)
            for number, change in enumerate(page.changes, start=1):
                if change.product is None:
                    self._index.remove(change.position.product_id)
                else:
                    self._index.put(change.product)
                if number % _STEP == 0:
                    await asyncio.sleep(0)
            position = page.next
            if page.complete:
                return position
