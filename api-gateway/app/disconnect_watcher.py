"""Calls in hand: given up when the client has gone, or when the upstream's answer is late.

A timer and a task for each request would cost more than all else that is done for it. So one round
every 50 ms looks at the calls that are in hand just then; a quick answer costs an entry in a set.
"""

import asyncio
import contextlib
import math
from types import TracebackType

from starlette.types import Receive

from app.request_body import ClientBody

_ROUND_SECONDS = 0.05


class Call:
    """A context manager around the work for one client; ended quietly when the client has gone.

    Attributes:
        since: when the wait for the upstream began, on the loop's clock; time in which the client
            keeps the upstream waiting does not count.
        seconds: work that goes on for longer is cancelled.
    """

    __slots__ = (
        "_body",
        "_calls",
        "_gone",
        "_late",
        "_looker",
        "_receive",
        "_worker",
        "seconds",
        "since",
    )

    def __init__(self, calls: set["Call"], receive: Receive, body: ClientBody) -> None:
        self._calls = calls
        self._receive = receive
        self._body = body
        self._worker: asyncio.Task[object] | None = None
        self._looker: asyncio.Task[None] | None = None
        self._gone = self._late = False
        self.since = 0.0
        self.seconds = math.inf

    def __enter__(self) -> "Call":
        self._worker = asyncio.current_task()
        self._calls.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._calls.discard(self)
        if self._looker is not None:
            self._looker.cancel()
        if self._gone:
            self._uncancel()
            return kind is not None and issubclass(kind, asyncio.CancelledError)
        return False

    def was_late(self) -> bool:
        """Whether the cancellation just caught was the deadline's; if so it is over with that."""
        if self._late:
            self._late = False
            self._uncancel()
            return True
        return False

    def look(self, now: float) -> None:
        """One round's look at this call."""
        if self._body.is_awaited:
            self.since = now
        elif now > self.since + self.seconds and not self._late and not self._gone:
            self._late = True
            self._cancel()
        if self._looker is None and self._body.arrived:  # until then the body reads the channel
            self._looker = asyncio.create_task(self._until_gone(), name="watch for disconnect")

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._late:
            self._gone = True
            self._cancel()

    def _cancel(self) -> None:
        if self._worker is not None:
            self._worker.cancel()

    def _uncancel(self) -> None:
        if self._worker is not None:
            self._worker.uncancel()


class Watch:
    """Goes round the calls in hand. Started and closed in the app's lifespan."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._rounds: asyncio.Task[None] | None = None

    def over(self, receive: Receive, body: ClientBody) -> Call:
        """The call to put around the work for one client."""
        return Call(self._calls, receive, body)

    def start(self) -> None:
        self._rounds = asyncio.create_task(self._go_round(), name="watch calls in hand")

    async def aclose(self) -> None:
        if self._rounds is not None:
            self._rounds.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rounds

    async def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            now = loop.time()
            for call in list(self._calls):
                call.look(now)
