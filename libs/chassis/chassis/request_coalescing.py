"""One question for all who ask it at the same time: to a database, or to another service.

Nobody is given the answer to a question that was put before they came: who finds one under way
waits until it is over, and shares the next one. So an answer is never older than its request,
whoever wrote what in between.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_PATIENCE = 0.05  # seconds: a question that is answered slowly does not keep everybody


class SharedAnswers(Generic[Key, Value]):
    """The same question, put once for all who wait; different ones do not wait for each other.

    Args:
        ask: puts the question.
    """

    def __init__(self, ask: Callable[[Key], Awaitable[Value]]) -> None:
        self._ask = ask
        self._asked: dict[Key, asyncio.Task[Value]] = {}
        self._next: dict[Key, asyncio.Task[Value]] = {}

    async def answer(self, key: Key, seconds: float) -> Value:
        """Its answer; TimeoutError after so many seconds."""
        if (turn := self._next.get(key)) is None:
            turn = self._next[key] = _begun(self._turn(key))
        return await _within(seconds, turn)

    async def _turn(self, key: Key) -> Value:
        if (before := self._asked.get(key)) is not None:
            await asyncio.wait({before})
        self._asked[key] = self._next.pop(key)
        try:
            return await self._ask(key)
        finally:
            del self._asked[key]


class GatheredAnswers(Generic[Key, Value]):
    """One question about all the keys that somebody waits for.

    Args:
        ask: puts it; what it does not know is missing in its answer.
        most: keys of one question, but for those of somebody who has more.
    """

    def __init__(
        self, ask: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]], most: int
    ) -> None:
        self._ask = ask
        self._most = most
        self._last: _Batch[Key, Value] | None = None

    async def answers(self, keys: Collection[Key], seconds: float) -> Mapping[Key, Value]:
        """What is known of `keys`, among others'; TimeoutError after so many seconds."""
        batch = self._last
        if batch is None or batch.asked or len(batch.keys.union(keys)) > self._most:
            before = batch.turn if batch else None
            batch = self._last = _Batch()
            batch.turn = _begun(self._turn(batch, before))
        batch.keys.update(keys)
        return await _within(seconds, batch.turn)

    async def _turn(
        self, batch: "_Batch[Key, Value]", before: asyncio.Task[Any] | None
    ) -> Mapping[Key, Value]:
        if before is not None and not before.done():
            await asyncio.wait({before}, timeout=_PATIENCE)
        batch.asked = True
        return await self._ask(batch.keys)


@dataclass(slots=True)
class _Batch(Generic[Key, Value]):
    keys: set[Key] = field(default_factory=set)
    asked: bool = False
    turn: asyncio.Task[Mapping[Key, Value]] = field(init=False)


def _begun(turn: Coroutine[Any, Any, Value]) -> asyncio.Task[Value]:
    task = asyncio.create_task(turn)
    # asyncio would log the failure of a question for whose answer nobody has waited to the end.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


async def _within(seconds: float, turn: asyncio.Task[Value]) -> Value:
    """Who gives up or goes away takes nothing from the others."""
    async with asyncio.timeout(seconds):
        return await asyncio.shield(turn)
