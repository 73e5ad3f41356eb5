"""In-memory catalogue that follows the changes of product-service."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from itertools import count, islice
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.clients.catalogue_client import CatalogueChanges, CatalogueSnapshot, parse_products
from app.config import Settings
from app.retrieval.index import CatalogueIndex
from app.retrieval.language import Languages
from chassis.backoff import RetryPolicy
from chassis.http_client.client import UpstreamUnavailable

log = logging.getLogger(__name__)

_MAX_REFRESH_TIME_SHARE = 10  # at most 1/10 of the time, for a catalogue of any size


class CatalogueUnavailable(Exception):
    """The last read failed, or there was none yet (for readiness)."""


class CatalogueReader(Protocol):
    async def read(self) -> CatalogueSnapshot:
        """Return the whole catalogue. Raises UpstreamUnavailable."""

    async def changes(self, cursor: str) -> CatalogueChanges:
        """Return what has changed since a position. Raises UpstreamUnavailable."""

    async def ping(self) -> None:
        """Return if product-service answers. Raises UpstreamUnavailable."""


class LiveCatalogue:
    """The search index of the last catalogue read.

    After `catalogue_max_age_seconds` without a successful read, the index is no longer used:
    products may have been deleted and prices changed.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self,
        reader: CatalogueReader,
        languages: Languages,
        registry: CollectorRegistry,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._languages = languages
        self._refresh = settings.catalogue_refresh_seconds
        self._max_age = settings.catalogue_max_age_seconds
        self._clock = clock
        self._max_products = settings.catalogue_max_products
        self._index: CatalogueIndex | None = None
        self._rows: dict[str, Any] = {}  # by product id, the oldest first
        self._cursor: str | None = None
        self._read_at = -math.inf
        self._failed = True
        self._task: asyncio.Task[None] | None = None
        self._reads = Counter(
            "catalogue_readings", "Catalogue reads by outcome", ["outcome"], registry=registry
        )
        products = Gauge("catalogue_products", "Products in the index", registry=registry)
        products.set_function(lambda: len(self._index) if self._index is not None else 0)
        age = Gauge(
            "catalogue_age_seconds",
            "Age of the catalogue: seconds since the start of the last successful read",
            registry=registry,
        )
        age.set_function(lambda: self._clock() - self._read_at)

    def current(self) -> CatalogueIndex | None:
        """Return the index, or None before the first read or if the last one is too old."""
        return None if self._clock() - self._read_at > self._max_age else self._index

    async def probe(self) -> None:
        """Raise if the last read failed or product-service does not answer now (for readiness).

        The background task alone would report an outage only after its pause and read timeout.
        """
        if self._failed:
            raise CatalogueUnavailable
        await self._reader.ping()

    async def refresh(self) -> None:
        """Read the catalogue or its changes, and rebuild the index if the content has changed.

        Raises:
            UpstreamUnavailable: the read failed; the previous index is kept.
        """
        started = self._clock()
        if self._index is None or self._cursor is None:
            snapshot = await self._reader.read()
            rows, cursor = {row["id"]: row for row in snapshot.rows}, snapshot.cursor
        else:
            changes = await self._reader.changes(self._cursor)
            rows, cursor = self._with_changes(changes.rows), changes.cursor
        if self._index is None or rows != self._rows:
            # In a thread: building an index of some thousand products takes tenths of a second.
            self._index = await asyncio.to_thread(self._build, rows)
            log.info("catalogue index rebuilt", extra={"products": len(self._index)})
        self._rows, self._cursor = rows, cursor
        self._read_at = started
        self._failed = False

    def _with_changes(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the rows with changes applied. Changed products keep their place."""
        if not changes:
            return self._rows
        deleted = {each for each, row in changes.items() if row is None}
        rows = self._rows | {each: row for each, row in changes.items() if row is not None}
        kept = ((each, row) for each, row in rows.items() if each not in deleted)
        return dict(islice(kept, self._max_products))

    def start(self) -> None:
        """Start reading in the background, because product-service may be unavailable."""
        self._task = asyncio.create_task(self._run(), name="catalogue")

    async def stop(self, timeout: float = 1.0) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=timeout)

    async def _run(self) -> None:
        backoff = RetryPolicy(backoff=0.2, backoff_max=self._refresh)
        failures = count(1)
        while True:
            started = self._clock()
            try:
                await self.refresh()
            except Exception as error:  # of any kind: the loop must not end
                self._failed = True
                self._reads.labels("failed").inc()
                self._log_failure(error)
                await asyncio.sleep(0.05 + backoff.delay(next(failures)))
            else:
                failures = count(1)
                self._reads.labels("ok").inc()
                await asyncio.sleep(
                    max(self._refresh, _MAX_REFRESH_TIME_SHARE * (self._clock() - started))
                )

    def _log_failure(self, error: Exception) -> None:
        if isinstance(error, UpstreamUnavailable):
            log.warning("catalogue read failed", extra={"reason": error.reason.value})
        else:
            log.error("catalogue read failed", exc_info=error)

    def _build(self, rows: Mapping[str, Any]) -> CatalogueIndex:
        return CatalogueIndex(parse_products(rows.values()), self._languages)
