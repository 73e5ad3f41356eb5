"""The count that several gateways share, in Redis or Valkey."""

import asyncio
import math
import time

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from app.rate_limit import RateLimit
from app.rate_limiter import Standing

_STORE_CONNECTIONS = 64


class SharedWindows:
    """The same count as `LocalWindows`, by the `limits` library."""

    def __init__(self, uri: str, seconds: float) -> None:
        self._seconds = seconds
        self._store = RedisStorage(
            f"async+{uri}",
            implementation="redispy",
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            max_connections=_STORE_CONNECTIONS,
        )
        self._windows = SlidingWindowCounterRateLimiter(self._store)

    async def count(self, limit: RateLimit, key: str) -> Standing:
        """As `LocalWindows.count`.

        Raises:
            Exception: of whatever kind, when the store does not answer in time.
        """
        item = RateLimitItemPerSecond(limit.amount, limit.seconds)
        async with asyncio.timeout(self._seconds):
            allowed = await self._windows.hit(item, key)
            stats = await self._windows.get_window_stats(item, key)
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        return Standing(allowed, limit, stats.remaining if allowed else 0, seconds)

    async def probe(self) -> None:
        """For readiness: raises when the store does not answer."""
        if not await self._store.check():
            raise ConnectionError("the store did not answer")

    async def aclose(self) -> None:
        await self._store.bridge.storage.aclose()  # type: ignore[attr-defined]
