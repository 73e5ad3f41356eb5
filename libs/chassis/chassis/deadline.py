"""One point in time by which a whole operation must be done, however many calls it makes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on a monotonic clock (seconds); made at the edge and handed to every call."""

    at: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """The instant `seconds` from now."""
        return cls(clock() + seconds, clock)

    def remaining(self) -> float:
        """Seconds left; 0 when it has passed, never negative."""
        return max(0.0, self.at - self.clock())

    @property
    def expired(self) -> bool:
        return self.remaining() <= 0

    def sooner_of(self, seconds: float) -> "Deadline":
        """This deadline, or the one `seconds` from now where that comes first."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    @asynccontextmanager
    async def enforce(self) -> AsyncIterator[None]:
        """Cut the block off at the deadline, counted from now: uvloop's clock has another zero.

        Raises:
            TimeoutError: the deadline passed; where it had before, the block is not entered.
        """
        if self.expired:
            raise TimeoutError
        async with asyncio.timeout(self.remaining()):
            yield
