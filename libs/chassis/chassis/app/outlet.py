"""The head of an answer and its body in one write.

uvicorn writes each by itself and uvloop sends each at once: two packets, of which the first wakes
a caller up for nothing.
"""

import asyncio
from collections.abc import Callable

_COPIED = 65_536  # bytes; a larger body is sent beside its head, not joined to it


class Outlet:
    """What a request's cycle takes for its transport.

    A write waits for the one after it, or for the end of what runs just now, whichever is first.

    Args:
        close: does the closing, after the last write.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._call_soon = loop.call_soon
        self._close = close
        self._held = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Keep it for a moment, or send it with what was kept."""
        held = self._held
        if not held:
            self._held = data
            self._call_soon(self._flush)
            return
        self._held = b""
        if len(data) < _COPIED:
            self._transport.write(held + data)
        else:
            self._transport.writelines((held, data))

    def close(self) -> None:
        """Send what was kept, and close."""
        self._flush()
        self._close()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)
