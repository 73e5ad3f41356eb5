"""Rate limits per caller and route group: the sliding window counter of the `limits` library.

Counters are in this process's memory, or in Redis where several gateways share them. A shared
store that fails or stalls costs a request at most its timeout, and only until the circuit breaker
opens. Until the store answers again, this gateway counts in its own memory.
"""

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from prometheus_client import CollectorRegistry, Counter

from app.config import Settings
from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy

_STORE_BREAKER = BreakerPolicy(failures_in_a_row=3, reset_timeout=1.0)
_STORE_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """A caller's state after one request.

    Attributes:
        remaining: requests left.
        reset_seconds: seconds until one more request is allowed, rounded up.
    """

    allowed: bool
    limit: RateLimitItem
    remaining: int
    reset_seconds: int

    def headers(self, group: str) -> list[tuple[bytes, bytes]]:
        """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers)."""
        policy = f'"{group}";q={self.limit.amount};w={self.limit.get_expiry()}'
        state = f'"{group}";r={self.remaining};t={self.reset_seconds}'
        headers = [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]
        if not self.allowed:
            headers.append((b"retry-after", str(self.reset_seconds).encode()))
        return headers


class BoundedMemoryStorage(MemoryStorage):
    """The library's memory storage with a bound on its counters.

    The library's own starts a task at each request that iterates over all counters, and keeps
    every counter for two windows. This one drops the counter that was incremented longest ago.

    Args:
        max_counters: counters kept; a caller has two, of the current and the previous window.
    """

    def __init__(self, max_counters: int = 200_000) -> None:
        super().__init__()
        self.max_counters = max_counters

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter and return it. Runs without suspending, so it needs no lock."""
        count = await self.get(key) + amount  # get() drops an expired counter
        self.storage.pop(key, None)
        self.storage[key] = count  # now the last one in the order of insertion
        self.expirations.setdefault(key, time.time() + expiry)
        if len(self.storage) > self.max_counters:
            await self.clear(next(iter(self.storage)))
        return count


class SharedStore:
    """Counters in Redis or Valkey.

    Args:
        timeout: seconds for both commands of one request.
    """

    def __init__(self, uri: str, timeout: float) -> None:
        from redis.asyncio import ConnectionPool  # 19 MB, which memory mode does not need

        self._timeout = timeout
        self._pool = ConnectionPool.from_url(
            uri,
            max_connections=_STORE_CONNECTIONS,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
        )
        self._storage = RedisStorage(
            f"async+{uri}",
            implementation="redispy",
            connection_pool=self._pool,  # type: ignore[arg-type]
        )
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def hit(self, limit: RateLimitItem, key: str) -> RateLimitStatus:
        """Count one request unless the limit is reached.

        Raises:
            Exception: the store does not answer in time, or with an error.
        """
        async with asyncio.timeout(self._timeout):
            return await _hit(self._limiter, limit, key)

    async def probe(self) -> None:
        """Raise ConnectionError when the store does not answer; for readiness."""
        if not await self._storage.check():
            raise ConnectionError("the rate limit store did not answer")

    async def aclose(self) -> None:
        await self._pool.aclose()


class CallerRateLimiter:
    """Counts requests by caller and route group. Built in `create_app`, closed in the lifespan.

    Attributes:
        shared_store: the counters that several gateways share; None in memory mode.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._default_limit = parse(settings.rate_limit_default)
        self._ai_limit = parse(settings.rate_limit_ai)
        self._local = SlidingWindowCounterRateLimiter(BoundedMemoryStorage())
        self._breaker = AsyncBreaker("rate-limit-store", _STORE_BREAKER, registry)
        self._counted_locally = Counter(
            "rate_limit_counted_locally",
            "Requests counted by this gateway alone because the shared store was unavailable",
            registry=registry,
        )
        self.shared_store: SharedStore | None = None
        if not settings.rate_limit_storage_uri.startswith("memory:"):
            self.shared_store = SharedStore(
                settings.rate_limit_storage_uri, settings.rate_limit_storage_timeout
            )

    async def hit(self, group: str, caller: str) -> RateLimitStatus:
        """Count one request unless the caller's limit is reached."""
        limit = self._ai_limit if group == "ai" else self._default_limit
        key = f"{group}/{caller}"
        if self.shared_store is not None:
            # The breaker's gauge and the counter report the failure.
            with contextlib.suppress(Exception), self._breaker.guard():
                return await self.shared_store.hit(limit, key)
            self._counted_locally.inc()
        return await _hit(self._local, limit, key)

    async def aclose(self) -> None:
        if self.shared_store is not None:
            await self.shared_store.aclose()


async def _hit(
    limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, key: str
) -> RateLimitStatus:
    allowed = await limiter.hit(limit, key)
    stats = await limiter.get_window_stats(limit, key)
    reset_seconds = math.floor(max(0.0, stats.reset_time - time.time()) + 1e-6) + 1
    return RateLimitStatus(allowed, limit, stats.remaining if allowed else 0, reset_seconds)
