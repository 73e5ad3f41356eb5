"""uvicorn's HTTP protocol with limits on the size and duration of a request head.

uvicorn has neither limit, and adds trailers to the headers of a request that the app may be
processing already. Used through the public methods of asyncio's protocols and httptools' callbacks.
"""

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from chassis.app.graceful_shutdown import DrainingProtocol

_DRAIN_SECONDS = 5.0
_LINGER_SECONDS = 1.0


class _LingeringTransport:
    """The transport of a response cycle, with a lingering close (RFC 9112, section 9.6).

    uvicorn's `RequestResponseCycle` closes its transport after the last response, even if the
    client is still sending: the TCP reset may then destroy the response before the client reads it.
    uvicorn has no setting for that, and calls the protocol only afterwards.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class _InvalidHead(Exception):
    """Raised in a callback of the parser to stop it."""


class BoundedHttpProtocol(DrainingProtocol):
    """Refuses a head that is too large (431) or too slow (408), drops trailers, and disconnects a
    client that does not read its response.

    After an early response the rest of the request's body is read for a few seconds, so that the
    client can read the response. Then the connection is closed.
    """

    max_head_bytes = 32_768
    head_seconds = 10.0
    stall_seconds = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._has_request = False  # whether there is a `cycle`
        self._head_done = False
        self._unparsed_bytes = 0  # since the last complete head or part of a body
        self._refusal: HTTPStatus | None = None
        self._discards_input = False
        self._timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    @classmethod
    def bounded(
        cls, *, max_head_bytes: int, head_seconds: float, stall_seconds: float
    ) -> type["BoundedHttpProtocol"]:
        """Return a subclass with these limits: uvicorn creates the instances."""
        bounds = {
            "max_head_bytes": max_head_bytes,
            "head_seconds": head_seconds,
            "stall_seconds": stall_seconds,
        }
        return type(cls.__name__, (cls,), bounds)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._response_transport = _LingeringTransport(transport, self._end_after_response)
        self._close_in(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._discards_input:
            return
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > self.max_head_bytes:  # also trailers, which the parser buffers
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif not self._head_done and self._unparsed_bytes and self._timer is None:
            self._close_in(self.head_seconds)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # RequestParser parses this head again
        self._cancel_timer()
        if self._unparsed_bytes > self.max_head_bytes:  # part of which may be the body
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.max_head_bytes:
                self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                raise _InvalidHead
        if b"#" in self.url or self.parser.get_http_version() == "0.9":
            raise _InvalidHead
        super().on_headers_complete()
        self._has_request = True
        self.cycle.transport = self._response_transport  # type: ignore[assignment]
        self.headers = []  # trailers go here, out of the request's sight
        self._head_done = True
        self._unparsed_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if not self.cycle.response_complete:  # else the connection ends with the early answer's
            self._cancel_timer()
        super().on_message_complete()
        self._head_done = False
        self._unparsed_bytes = 0

    def on_response_complete(self) -> None:
        if self._head_done and not self.transport.is_closing():
            self._close_in(_DRAIN_SECONDS)  # the rest of the body is discarded
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Send a problem document for a request that the parser refused."""
        self._refuse(self._refusal or HTTPStatus.BAD_REQUEST)

    def _close_in(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self._on_timer)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        if self._unparsed_bytes and not self._head_done and not self._discards_input:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        if self._discards_input or self.transport.is_closing():
            return
        if self._response_is_due():  # the client would take the refusal for that response
            self.transport.close()
            return
        if self._has_request:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_problem_response(status, self.max_head_bytes))
        self._linger()

    def _end_after_response(self) -> None:
        if self._head_done:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close after a pause in which the client can read the response; discard its input.

        A connection closed with unread input is reset, and the client can lose the response.
        """
        if not self.transport.is_closing():
            self._discards_input = True
            self.transport.write_eof()
            self.flow.resume_reading()
            self._close_in(_LINGER_SECONDS)

    def _response_is_due(self) -> bool:
        """Return whether a response has begun, or a complete request waits for one."""
        if self.pipeline:
            return True
        if not self._has_request or self.cycle.response_complete:
            return False
        return self.cycle.response_started or not self.cycle.more_body


def _problem_response(status: HTTPStatus, max_head_bytes: int) -> bytes:
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": _DETAILS[status].format(max_head_bytes),
        "instance": "",
        "trace_id": None,
    }
    body = json.dumps(problem).encode("ascii")
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "content-type: application/problem+json\r\nx-content-type-options: nosniff\r\n"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


_DETAILS = {
    HTTPStatus.BAD_REQUEST: "This is not a well-formed HTTP request.",
    HTTPStatus.REQUEST_TIMEOUT: "The request head did not arrive in time.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
        "The request headers, including the access token, are larger than {} bytes."
    ),
}
