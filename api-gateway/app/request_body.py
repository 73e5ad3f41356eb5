"""Read a request's body from the client and hand it to the upstream."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive

from app.errors import BodyTooLarge, RequestBodyTimeout
from app.headers import RawHeaders

PREFETCH_BYTES = 65_536


class ClientDisconnected(Exception):
    """The client closed the connection; a response has no recipient."""


class RequestBody:
    """Reads the first 64 KiB before an upstream is called, and streams the rest.

    A slow client therefore holds its own connection and none to an upstream. Most bodies are
    complete after the prefetch and can be sent again. A larger body never takes more memory.

    Args:
        timeout: seconds for the whole body to arrive.
        max_bytes: also enforced when the length was not announced.

    Attributes:
        is_complete: the client has sent all of it.
        is_waiting_for_client: the gateway waits for the client at this moment.
        client_error: why the client's side ended early.
    """

    def __init__(
        self, headers: RawHeaders, receive: Receive, *, timeout: float, max_bytes: int
    ) -> None:
        self._receive = receive
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._received_bytes = 0
        self._deadline = 0.0
        self._prefetched = b""
        self._is_streamed = False
        self._content_length: str | None = None
        self.is_complete = True
        self.is_waiting_for_client = False
        self.client_error: Exception | None = None
        for name, value in headers:
            if name == b"content-length":
                self._content_length = value.decode("latin-1")
                self.is_complete = self._content_length == "0"
            elif name == b"transfer-encoding":
                self.is_complete = False

    @property
    def is_replayable(self) -> bool:
        return not self._is_streamed

    @property
    def streamed_length(self) -> str | None:
        """The announced length of a body that is streamed."""
        return self._content_length if self._is_streamed else None

    async def prefetch(self) -> None:
        """Wait for the whole body, or for the first part of a large one.

        Raises:
            BodyTooLarge: the announced or the received length exceeds the limit.
            RequestBodyTimeout: the body did not arrive in time.
            ClientDisconnected: the client disconnected before the body was complete.
        """
        if self.is_complete:
            return
        if self._content_length is not None and int(self._content_length) > self._max_bytes:
            raise self._too_large()
        self._deadline = asyncio.get_running_loop().time() + self._timeout
        parts: list[bytes] = []
        size, more = 0, True
        while more and size < PREFETCH_BYTES:
            part, more = await self._next_part()
            parts.append(part)
            size += len(part)
        self._prefetched = b"".join(parts)
        self._is_streamed = more

    def content(self) -> bytes | AsyncIterator[bytes] | None:
        """Return the whole body, or a stream that can be read once."""
        return self._stream() if self._is_streamed else self._prefetched or None

    async def _stream(self) -> AsyncIterator[bytes]:
        prefetched, self._prefetched = self._prefetched, b""
        yield prefetched
        more = True
        while more:
            try:
                part, more = await self._next_part()
            except Exception as error:
                self.client_error = error
                raise
            yield part

    async def _next_part(self) -> tuple[bytes, bool]:
        """Return the next part, and whether more follows."""
        self.is_waiting_for_client = True
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RequestBodyTimeout from None
        finally:
            self.is_waiting_for_client = False
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part: bytes = message.get("body", b"")
        self._received_bytes += len(part)
        if self._received_bytes > self._max_bytes:
            raise self._too_large()
        self.is_complete = not message.get("more_body", False)
        return part, not self.is_complete

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self._max_bytes} bytes.")
