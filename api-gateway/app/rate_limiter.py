"""How often a caller may ask: a sliding window for each caller and route group.

Counted in memory, or in Redis where several gateways share the count. A store that stalls or is
away costs no request more than the timeout, and only until the circuit opens; meanwhile this
gateway counts by itself: never unlimited, never frozen.
"""

import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from app.config import Settings
from app.rate_limit import RateLimit
from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy

_STORE_CIRCUIT = BreakerPolicy(failures_in_a_row=3, reset_timeout=1.0)


@dataclass(slots=True)
class Standing:
    """How a caller stands after this request.

    Attributes:
        seconds: until the quota grows again, rounded up.
    """

    allowed: bool
    limit: RateLimit
    remaining: int
    seconds: int

    def headers(self, group: str) -> list[tuple[bytes, bytes]]:
        """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers)."""
        policy = f'"{group}";q={self.limit.amount};w={self.limit.seconds}'
        state = f'"{group}";r={self.remaining};t={self.seconds}'
        headers = [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]
        if not self.allowed:
            headers.append((b"retry-after", str(self.seconds).encode()))
        return headers


class Shared(Protocol):
    """A count that several gateways share."""

    async def count(self, limit: RateLimit, key: str) -> Standing:
        """As `LocalWindows.count`; raises whatever it likes where the store is away."""

    async def probe(self) -> None: ...

    async def aclose(self) -> None: ...


@dataclass(slots=True)
class _Window:
    """Two neighbouring windows of one caller: `number` is the current one's."""

    number: int
    previous: int = 0
    current: int = 0


class LocalWindows:
    """Sliding-window counters in this process's memory, bounded.

    The `limits` library's own memory storage walks over every key that it holds at each request,
    which a caller with many addresses makes slow. The arithmetic is its sliding-window-counter:
    what is in the window before counts by the share of it that is less than a window old. Nothing
    is awaited between reading and writing, so that no lock is needed.

    Args:
        capacity: callers held; the one that asked longest ago makes place.
        now: POSIX seconds.
    """

    def __init__(self, capacity: int = 100_000, now: Callable[[], float] = time.time) -> None:
        self._capacity = capacity
        self._now = now
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def count(self, limit: RateLimit, key: str) -> Standing:
        """Count one request, unless that would be more than the limit."""
        length = limit.seconds
        number, gone = divmod(self._now(), length)
        window = self._window(key, int(number))
        used = window.previous * (1 - gone / length) + window.current
        allowed = math.floor(used) < limit.amount
        window.current += allowed
        remaining = max(0, limit.amount - math.floor(used) - allowed)
        return Standing(allowed, limit, remaining, _wait(window, length, gone))

    def _window(self, key: str, number: int) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(number)
            if len(self._windows) > self._capacity:
                self._windows.popitem(last=False)
            return window
        self._windows.move_to_end(key)
        if window.number != number:
            window.previous = window.current if window.number == number - 1 else 0
            window.number, window.current = number, 0
        return window


def _wait(window: _Window, length: int, gone: float) -> int:
    """Seconds after which one request fewer counts: of the window before, or when this one ends."""
    old = math.floor(window.previous * (1 - gone / length))
    end = length * (1 - old / window.previous) if old else length
    return math.floor(end - gone + 1e-6) + 1


class Quota:
    """Built in the app's factory, closed in its lifespan.

    Args:
        shared: the count that several gateways share, where there are several.
    """

    def __init__(
        self, settings: Settings, registry: CollectorRegistry, shared: Shared | None = None
    ) -> None:
        self._settings = settings
        self._limits: dict[str, RateLimit] = {}
        self._local = LocalWindows()
        self._circuit = AsyncBreaker("rate-limit-store", _STORE_CIRCUIT, registry)
        self._by_itself = Counter(
            "rate_limit_counted_locally",
            "Requests counted by this gateway alone because the shared store was away",
            registry=registry,
        )
        self.shared = shared

    async def count(self, group: str, caller: str) -> Standing:
        """Count one request, unless the caller has no more left."""
        limit = self._limits.get(group)
        if limit is None:
            limit = self._limits[group] = self._settings.limit_of(group)
        key = f"{group}/{caller}"
        if self.shared is not None:
            # What goes wrong is told by the circuit's gauge and the counter.
            with contextlib.suppress(Exception), self._circuit.guard():
                return await self.shared.count(limit, key)
            self._by_itself.inc()
        return self._local.count(limit, key)

    async def aclose(self) -> None:
        if self.shared is not None:
            await self.shared.aclose()
