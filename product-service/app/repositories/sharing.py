"""One question to the database for all who ask it at the same time.

Nobody is given the answer to a question that was put before they came: who finds one under way
waits until it is over, and shares the next one. So an answer is never older than its request,
whoever wrote what in between.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_LANES = 2  # so that one slow answer does not keep everybody


class SharedAnswers(Generic[Key, Value]):
    """The same question, put once for all who wait; different ones do not wait for each other.

    Args:
        ask: puts the question.
        seconds: after which `answer` raises TimeoutError.
    """

    def __init__(self, ask: Callable[[Key], Awaitable[Value]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked: dict[Key, asyncio.Task[Value]] = {}
        self._next: dict[Key, asyncio.Task[Value]] = {}

    async def answer(self, key: Key) -> Value:
        if (turn := self._next.get(key)) is None:
            turn = self._next[key] = _begun(self._turn(key))
        return await _within(self._seconds, turn)

    async def _turn(self, key: Key) -> Value:
        if (before := self._asked.get(key)) is not None:
            await asyncio.wait({before})
        self._asked[key] = self._next.pop(key)
        try:
            return await self._ask(key)
        finally:
            del self._asked[key]


@dataclass(slots=True)
class _Batch(Generic[Key, Value]):
    keys: set[Key]
    turn: asyncio.Task[Mapping[Key, Value]]


class GatheredAnswers(Generic[Key, Value]):
    """One question about all the keys that somebody waits for.

    Args:
        ask: puts it; what it does not know is missing in its answer.
        seconds: after which `answers` raises TimeoutError.
    """

    def __init__(
        self, ask: Callable[[set[Key]], Awaitable[Mapping[Key, Value]]], seconds: float
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._lanes = asyncio.Semaphore(_LANES)
        self._next: _Batch[Key, Value] | None = None

    async def answers(self, keys: Iterable[Key]) -> Mapping[Key, Value]:
        """What is known of `keys`, among others'."""
        if self._next is None:
            self._next = _Batch(set(), _begun(self._turn()))
        self._next.keys.update(keys)
        return await _within(self._seconds, self._next.turn)

    async def _turn(self) -> Mapping[Key, Value]:
        async with self._lanes:
            batch, self._next = self._next, None
            assert batch is not None  # noqa: S101  `answers` made it with this task
            return await self._ask(batch.keys)


def _begun(turn: Coroutine[Any, Any, Value]) -> asyncio.Task[Value]:
    task = asyncio.create_task(turn)
    # asyncio would log the failure of a question for whose answer nobody has waited to the end.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


async def _within(seconds: float, turn: asyncio.Task[Value]) -> Value:
    """Who gives up or goes away takes nothing from the others."""
    async with asyncio.timeout(seconds):
        return await asyncio.shield(turn)
