"""A lock with two priorities."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PriorityLock:
    """A lock that serves all urgent waiters before the others, each group in order of arrival."""

    def __init__(self) -> None:
        self._locked = False
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def hold(self, *, urgent: bool) -> AsyncIterator[None]:
        """Acquire the lock for the block."""
        if self._locked:
            await self._wait(self._urgent if urgent else self._others)
        self._locked = True
        try:
            yield
        finally:
            self._release()

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        acquired: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(acquired)
        try:
            await acquired
        except asyncio.CancelledError:
            if acquired.done() and not acquired.cancelled():  # acquired just before the cancel
                self._release()
            raise

    def _release(self) -> None:
        """Pass the lock to the next waiter. It is never free in between."""
        for queue in (self._urgent, self._others):
            while queue:
                acquired = queue.popleft()
                if not acquired.done():
                    acquired.set_result(None)
                    return
        self._locked = False
