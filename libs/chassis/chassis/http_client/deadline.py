"""Deadline of an operation that makes several calls."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time, in seconds of a monotonic clock. The edge creates it and passes it on."""

    at: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """Return the deadline `seconds` from now."""
        return cls(clock() + seconds, clock)

    def remaining(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self.at - self.clock())

    @property
    def expired(self) -> bool:
        return self.remaining() <= 0

    def sooner_of(self, seconds: float) -> "Deadline":
        """Return the earlier of this deadline and the one `seconds` from now."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def enforce(self) -> asyncio.Timeout:
        """Return a context manager that cancels its block at the deadline.

        It uses the seconds left, because uvloop's clock has another origin.

        Raises:
            TimeoutError: the deadline has passed. Before the block starts, if it had passed then.
        """
        if self.expired:
            raise TimeoutError
        return asyncio.timeout(self.remaining())
