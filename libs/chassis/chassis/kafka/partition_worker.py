"""One assigned partition: its messages, handled strictly in order, beside the other partitions."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from chassis.kafka.batches import Record, next_offset

_MANY, _LONG = 20, 0.1  # messages handled, and seconds, after which they are committed


class Abandoned(Exception):
    """The partition is given up before its message was done: no commit, so it comes again."""


class Lane:
    """The queue of one partition and the task that works through it.

    Args:
        process: handles one message, and settles when `handled` says so; raises Abandoned to end
            the lane without a word.
        commit: commits the offset that it is given.
        skip_before: milliseconds since 1970; older messages are history. None: none is.
    """

    def __init__(
        self,
        process: Callable[["Lane", Record], Awaitable[None]],
        commit: Callable[[int], Awaitable[None]],
        skip_before: int | None = None,
    ) -> None:
        self._process = process
        self._commit = commit
        self.skip_before = skip_before
        self._queue: asyncio.Queue[Record | None] = asyncio.Queue()
        self._in_hand = 0
        self._handled = 0  # and not committed yet
        self._handled_to = 0
        self._handled_since = 0.0
        self._closing = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name="kafka-lane")

    @property
    def unhandled(self) -> int:
        """Messages that were fetched and not yet handled."""
        return self._queue.qsize() + self._in_hand

    def handled(self, record: Record) -> bool:
        """Note that a message came to its end; whether it is time to commit.

        A commit is a round trip that costs as much as a small message. So one stands for all that
        was handled meanwhile, as long as more is waiting: a crash brings those again, as it might
        bring the last one anyway.
        """
        if not self._handled:
            self._handled_since = time.monotonic()
        self._handled += 1
        self._handled_to = next_offset(record)
        nothing_waits = self._queue.empty() or self._closing.is_set()
        long = time.monotonic() - self._handled_since >= _LONG
        return nothing_waits or long or self._handled >= _MANY

    async def settle(self) -> None:
        """Commit what was handled; nothing where that is done."""
        if self._handled:
            await self._commit(self._handled_to)
            self._handled = 0

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            self._queue.put_nowait(record)

    def check(self) -> None:
        """Raise what ended the lane by our own fault: no partition may stop unnoticed."""
        if self.task.done() and self.task.cancelled():
            raise RuntimeError("a handler cancelled its own task")
        if self.task.done():
            self.task.result()

    def close(self) -> None:
        """Let the message in hand come to its end and forget the others; `task` ends then."""
        self._closing.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def rest(self, seconds: float) -> None:
        """Wait between two tries; raises Abandoned at once when the lane closes."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return
        raise Abandoned

    async def _run(self) -> None:
        while (record := await self._queue.get()) is not None:
            self._in_hand = 1
            try:
                await self._process(self, record)
            except Abandoned:
                return
            finally:
                self._in_hand = 0
