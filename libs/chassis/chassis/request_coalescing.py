"""Coalesce concurrent reads of the same data into one query.

A caller never joins a query that started before its own request. It waits for the next one, and
shares that with every caller that arrived meanwhile. A result is therefore never older than the
request that receives it, even when another client writes in between.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

MAX_BATCH_WAIT = 0.05  # seconds that a batch waits for the one before; a slow query delays no more


class QueryCoalescer(Generic[Key, Value]):
    """Runs one query for all concurrent callers with the same key. Keys do not wait for each other.

    Args:
        query: reads the value of a key.
    """

    def __init__(self, query: Callable[[Key], Awaitable[Value]]) -> None:
        self._query = query
        self._running: dict[Key, asyncio.Task[Value]] = {}
        self._next: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key, timeout: float) -> Value:
        """Return the value of `key`.

        Raises:
            TimeoutError: there is none after `timeout` seconds.
        """
        if (task := self._next.get(key)) is None:
            task = self._next[key] = _start(self._run(key))
        return await _shared(task, timeout)

    async def _run(self, key: Key) -> Value:
        if (running := self._running.get(key)) is not None:
            await asyncio.wait({running})
        self._running[key] = self._next.pop(key)
        try:
            return await self._query(key)
        finally:
            del self._running[key]


class BatchLoader(Generic[Key, Value]):
    """Runs one query for the keys of all concurrent callers.

    Args:
        query: reads several keys; an unknown key is missing from its result.
        max_keys: keys of one query, unless a single caller has more.
    """

    def __init__(
        self, query: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]], max_keys: int
    ) -> None:
        self._query = query
        self._max_keys = max_keys
        self._last: _Batch[Key, Value] | None = None

    async def load(self, keys: Collection[Key], timeout: float) -> Mapping[Key, Value]:
        """Return the values of `keys`; the result may contain other keys.

        Raises:
            TimeoutError: there is no result after `timeout` seconds.
        """
        batch = self._last
        if batch is None or batch.started or len(batch.keys.union(keys)) > self._max_keys:
            before = batch.task if batch else None
            batch = self._last = _Batch()
            batch.task = _start(self._run(batch, before))
        batch.keys.update(keys)
        return await _shared(batch.task, timeout)

    async def _run(
        self, batch: "_Batch[Key, Value]", before: asyncio.Task[Any] | None
    ) -> Mapping[Key, Value]:
        if before is not None and not before.done():
            await asyncio.wait({before}, timeout=MAX_BATCH_WAIT)
        batch.started = True
        return await self._query(batch.keys)


@dataclass(slots=True)
class _Batch(Generic[Key, Value]):
    keys: set[Key] = field(default_factory=set)
    started: bool = False
    task: asyncio.Task[Mapping[Key, Value]] = field(init=False)


def _start(query: Coroutine[Any, Any, Value]) -> asyncio.Task[Value]:
    task = asyncio.create_task(query)
    # Retrieve the exception: asyncio would log it if all callers have been cancelled.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


async def _shared(task: asyncio.Task[Value], timeout: float) -> Value:
    """Wait for a task that others wait for too: a cancelled caller does not cancel it."""
    async with asyncio.timeout(timeout):
        return await asyncio.shield(task)
