"""The catalogue in memory, read again and again in the background."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.clients.catalogue_client import Reading, products_of
from app.config import Settings
from app.retrieval.index import CatalogueIndex
from app.retrieval.language import Languages
from chassis.backoff import RetryPolicy
from chassis.http_client.client import UpstreamUnavailable

log = logging.getLogger(__name__)

_SHARE = 20  # reading the catalogue takes at most this part of the time, however large it is


class CatalogueAway(Exception):
    """Readiness: the last reading failed, or there was none yet."""


class Reader(Protocol):
    async def read(self) -> Reading:
        """The whole catalogue; raises UpstreamUnavailable."""

    async def ping(self) -> None:
        """Return when the catalogue could be read now; raises UpstreamUnavailable."""


class LiveCatalogue:
    """The index of the catalogue as it was a moment ago.

    After `catalogue_max_age_seconds` what is known is no longer answered from: a product may be
    gone, a price may be another.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self,
        reader: Reader,
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
        self._index: CatalogueIndex | None = None
        self._fingerprint: bytes | None = None
        self._read_at = -math.inf
        self._failed = True
        self._task: asyncio.Task[None] | None = None
        self._readings = Counter(
            "catalogue_readings", "Readings of the catalogue", ["outcome"], registry=registry
        )
        products = Gauge("catalogue_products", "Products in the index", registry=registry)
        products.set_function(lambda: len(self._index) if self._index is not None else 0)
        age = Gauge(
            "catalogue_age_seconds", "Since the last complete reading began", registry=registry
        )
        age.set_function(lambda: self._clock() - self._read_at)

    def current(self) -> CatalogueIndex | None:
        """The index; None before the first reading, and when the last one is too long ago."""
        return None if self._clock() - self._read_at > self._max_age else self._index

    async def probe(self) -> None:
        """For readiness: raises where the last reading failed, or the next one would.

        The background alone tells too late: it reads every few seconds, and waits for who hangs.
        """
        if self._failed:
            raise CatalogueAway
        await self._reader.ping()

    async def refresh(self) -> None:
        """Read the catalogue; build the index anew where something has changed.

        Raises:
            UpstreamUnavailable: nothing was read; what was known stays.
        """
        began = self._clock()
        reading = await self._reader.read()
        if reading.fingerprint != self._fingerprint:
            # In a thread: some thousands of products take tenths of a second.
            self._index = await asyncio.to_thread(self._build, reading)
            self._fingerprint = reading.fingerprint
            log.info("catalogue read", extra={"products": len(self._index)})
        self._read_at = began
        self._failed = False

    def start(self) -> None:
        """Begin to read, and return at once: product-service may be away for a long time yet."""
        self._task = asyncio.create_task(self._run(), name="catalogue")

    async def stop(self, timeout: float = 1.0) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=timeout)

    async def _run(self) -> None:
        backoff = RetryPolicy(backoff=0.2, backoff_max=self._refresh)
        failures = count(1)
        while True:
            began = self._clock()
            try:
                await self.refresh()
            except Exception as error:  # whatever it was: without its catalogue it can say nothing
                self._failed = True
                self._readings.labels("failed").inc()
                self._note(error)
                await asyncio.sleep(0.05 + backoff.delay(next(failures)))
            else:
                failures = count(1)
                self._readings.labels("ok").inc()
                await asyncio.sleep(max(self._refresh, _SHARE * (self._clock() - began)))

    def _note(self, error: Exception) -> None:
        if isinstance(error, UpstreamUnavailable):
            log.warning("the catalogue cannot be read", extra={"reason": error.reason.value})
        else:
            log.error("the catalogue cannot be read", exc_info=error)

    def _build(self, reading: Reading) -> CatalogueIndex:
        return CatalogueIndex(products_of(reading.rows), self._languages)
