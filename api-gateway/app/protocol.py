"""uvicorn's HTTP protocol with the bounds that it lacks.

As it comes, the parser takes a head of any size for as long as the client likes, and puts trailers
among the headers of a request that the app may already be looking at.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_DRAIN_SECONDS = 5.0


class _Refused(Exception):
    """Raised in the parser's call-back to stop it."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses a head that is too large (431) or too slow (408), drops trailers.

    After an early answer the rest of the request's body is let in for a few seconds, so that the
    client can read the answer; then the connection is closed.
    """

    max_head_bytes = 32_768
    head_seconds = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_done = False
        self._head_bytes = 0
        self._refusal: HTTPStatus | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def bounded(cls, max_head_bytes: int, head_seconds: float) -> type["BoundedHttpProtocol"]:
        """The class with other bounds: uvicorn makes the instances."""
        bounds = {"max_head_bytes": max_head_bytes, "head_seconds": head_seconds}
        return type(cls.__name__, (cls,), bounds)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._close_in(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._head_done:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._head_done:
            if self._head_bytes > self.max_head_bytes:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            elif self._head_bytes and self._timer is None:
                self._close_in(self.head_seconds)

    def on_headers_complete(self) -> None:
        self._cancel_timer()
        if self._head_bytes > self.max_head_bytes:  # which may be the body's beginning as well
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.max_head_bytes:
                self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                raise _Refused
        super().on_headers_complete()
        self.headers = []  # trailers go here, out of the request's sight
        self._head_done = True
        self._head_bytes = 0

    def on_message_complete(self) -> None:
        self._cancel_timer()
        super().on_message_complete()
        self._head_done = False

    def on_response_complete(self) -> None:
        if self._head_done and not self.transport.is_closing():
            self._close_in(_DRAIN_SECONDS)  # the body still comes in, and nobody wants it
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser refused, as a problem document like every other refusal."""
        self._refuse(self._refusal or HTTPStatus.BAD_REQUEST)

    def _close_in(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self._time_is_up)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        if self._head_bytes and not self._head_done:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        if self.transport.is_closing():
            return
        problem = {
            "type": "about:blank",
            "title": status.phrase,
            "status": status.value,
            "detail": _DETAILS[status],
            "instance": "",
            "trace_id": None,
        }
        body = json.dumps(problem).encode("ascii")
        head = (
            b"content-type: application/problem+json\r\nx-content-type-options: nosniff\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(STATUS_LINE[status.value] + head + body)
        self.transport.close()


_DETAILS = {
    HTTPStatus.BAD_REQUEST: "This is not a well-formed HTTP request.",
    HTTPStatus.REQUEST_TIMEOUT: "The request's head did not arrive in time.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request's headers are too large.",
}
