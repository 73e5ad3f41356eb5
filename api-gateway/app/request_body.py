"""A request's body on its way from the client to the upstream."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive

from app.errors import BodyTooLarge, SlowRequest
from app.headers import RawHeaders

PREFETCH = 65_536


class ClientGone(Exception):
    """Nobody is there any more to answer."""


class ClientBody:
    """Reads the first 64 KiB before an upstream is asked; what is larger is streamed.

    So a client that sends a byte a second holds its own connection, and none to an upstream; most
    bodies are whole by then and can be sent twice; and no body takes more memory than that.

    Args:
        seconds: for all of it to arrive.
        limit: bytes; however its length was announced.

    Attributes:
        arrived: whether the client has sent all of it.
        is_awaited: whether the client is waited for just now.
        failure: why the client's side of it ended early.
    """

    def __init__(
        self, headers: RawHeaders, receive: Receive, *, seconds: float, limit: int
    ) -> None:
        self._receive = receive
        self._seconds = seconds
        self._limit = limit
        self._received = 0
        self._deadline = 0.0
        self._begun = b""
        self._streaming = False
        self._announced: str | None = None
        self.arrived = True
        self.is_awaited = False
        self.failure: Exception | None = None
        for name, value in headers:
            if name == b"content-length":
                self._announced = value.decode("latin-1")
                self.arrived = self._announced == "0"
            elif name == b"transfer-encoding":
                self.arrived = False

    @property
    def replayable(self) -> bool:
        return not self._streaming

    @property
    def length(self) -> str | None:
        """The announced length of a body that is being streamed."""
        return self._announced if self._streaming else None

    async def begin(self) -> None:
        """Wait for the body, or for the first part of a large one.

        Raises:
            BodyTooLarge: it is announced to be, or it has become so.
            SlowRequest: it did not come in time.
            ClientGone: the client went away before it was complete.
        """
        if self.arrived:
            return
        if self._announced is not None and int(self._announced) > self._limit:
            raise self._too_large()
        self._deadline = asyncio.get_running_loop().time() + self._seconds
        parts: list[bytes] = []
        size, more = 0, True
        while more and size < PREFETCH:
            part, more = await self._next()
            parts.append(part)
            size += len(part)
        self._begun = b"".join(parts)
        self._streaming = more

    def content(self) -> bytes | AsyncIterator[bytes] | None:
        """What to send: the whole, or a stream that can be read once."""
        return self._stream() if self._streaming else self._begun or None

    async def _stream(self) -> AsyncIterator[bytes]:
        begun, self._begun = self._begun, b""
        yield begun
        more = True
        while more:
            try:
                part, more = await self._next()
            except Exception as error:
                self.failure = error
                raise
            yield part

    async def _next(self) -> tuple[bytes, bool]:
        """The next part, and whether more is to come."""
        self.is_awaited = True
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise SlowRequest from None
        finally:
            self.is_awaited = False
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        self._received += len(part)
        if self._received > self._limit:
            raise self._too_large()
        self.arrived = not message.get("more_body", False)
        return part, not self.arrived

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self._limit} bytes.")
