"""One point in time by which a whole operation must be done, however many calls it makes."""

import asyncio
import time
from collections.abc import Callable
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

    def enforce(self) -> asyncio.Timeout:
        """`async with deadline.enforce():` cuts the block off, and raises TimeoutError.

        Counted from now: uvloop's clock has another zero.

        Raises:
            TimeoutError: it had passed before; the block is not entered.
        """
        if self.expired:
            raise TimeoutError
        return asyncio.timeout(self.remaining())
