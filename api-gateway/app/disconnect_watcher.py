"""Cancel forwarded calls whose client has disconnected or whose upstream is late.

A timer and a task per request would cost more CPU than the rest of the gateway. One loop checks all
running calls every 50 ms instead; a quick call costs one entry in a set.
"""

import asyncio
import contextlib
import math
from types import TracebackType

from starlette.types import Receive

from app.request_body import RequestBody

_CHECK_INTERVAL_SECONDS = 0.05


class WatchedCall:
    """Context manager around one forwarded call; suppresses the cancellation after a disconnect.

    Attributes:
        waiting_since: loop time at which the wait for the upstream began. Time that the upstream
            waits for the client does not count.
        timeout: seconds after which the call is cancelled.
    """

    __slots__ = (
        "_body",
        "_calls",
        "_is_disconnected",
        "_is_late",
        "_listener",
        "_receive",
        "_task",
        "timeout",
        "waiting_since",
    )

    def __init__(self, calls: set["WatchedCall"], receive: Receive, body: RequestBody) -> None:
        self._calls = calls
        self._receive = receive
        self._body = body
        self._task: asyncio.Task[object] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._is_disconnected = False
        self._is_late = False
        self.waiting_since = 0.0
        self.timeout = math.inf

    def __enter__(self) -> "WatchedCall":
        self._task = asyncio.current_task()
        self._calls.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._calls.discard(self)
        if self._listener is not None:
            self._listener.cancel()
        if self._is_disconnected:
            self._uncancel()
            return kind is not None and issubclass(kind, asyncio.CancelledError)
        return False

    def acknowledge_timeout(self) -> bool:
        """Return whether the timeout caused the CancelledError just caught, and clear it if so."""
        if self._is_late:
            self._is_late = False
            self._uncancel()
            return True
        return False

    def check(self, now: float) -> None:
        """Cancel the call if it is late; begin to listen for a disconnect."""
        if self._body.is_waiting_for_client:
            self.waiting_since = now
        elif (
            now > self.waiting_since + self.timeout
            and not self._is_late
            and not self._is_disconnected
        ):
            self._is_late = True
            self._cancel()
        # Until the body is complete, RequestBody is the only reader of the channel.
        if self._listener is None and self._body.is_complete:
            self._listener = asyncio.create_task(
                self._listen_for_disconnect(), name="listen for client disconnect"
            )

    async def _listen_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._is_late:
            self._is_disconnected = True
            self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _uncancel(self) -> None:
        if self._task is not None:
            self._task.uncancel()


class DisconnectWatcher:
    """Checks all running calls periodically. Started and closed in the app's lifespan."""

    def __init__(self) -> None:
        self._calls: set[WatchedCall] = set()
        self._loop_task: asyncio.Task[None] | None = None

    def watch(self, receive: Receive, body: RequestBody) -> WatchedCall:
        """Return the context manager for one call."""
        return WatchedCall(self._calls, receive, body)

    def start(self) -> None:
        self._loop_task = asyncio.create_task(self._check_calls(), name="check running calls")

    async def aclose(self) -> None:
        if self._loop_task is not None:
            self._loop_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop_task

    async def _check_calls(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_SECONDS)
            now = loop.time()
            for call in list(self._calls):
                call.check(now)
