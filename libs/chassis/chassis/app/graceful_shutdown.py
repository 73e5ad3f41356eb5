"""Shut a server down without losing a request.

Usage: `uvicorn --http chassis.app.graceful_shutdown:DrainingProtocol`.

On SIGTERM, uvicorn's `HttpToolsProtocol.shutdown` closes every idle connection. A client may be
sending a request on it: the request is lost, and the client cannot know whether it ran. The same
happens to a connection whose response had begun without `Connection: close`.

This protocol keeps such a connection open until the keep-alive timeout, or until the client closes
it (after 3 s in this platform). Requests that arrive before are answered with `Connection: close`.
uvicorn has no setting for that, so that this class overrides the protocol's methods.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from chassis.app.http_parser import RequestParser

_FIRST_REQUEST_SECONDS = 1.0  # how long a new connection may wait for its first request


class DrainingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a graceful shutdown, and without protocol upgrades."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = RequestParser(self)  # type: ignore[assignment]  # the same interface
        self._is_draining = False

    def shutdown(self) -> None:
        """Start to drain; the server calls it once, after it has closed the listener."""
        self._is_draining = True
        request = self._last_request()
        if request is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                _FIRST_REQUEST_SECONDS, self.timeout_keep_alive_handler
            )
        elif not request.response_started:
            request.keep_alive = False

    def on_headers_complete(self) -> None:
        """Start the request; while draining, uvicorn answers it with `Connection: close`."""
        if self.parser.should_upgrade():
            return  # RequestParser parses this head again
        super().on_headers_complete()
        if self._is_draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _last_request(self) -> RequestResponseCycle | None:
        """Return the current or last request; uvicorn's type does not say that it may be None."""
        return self.cycle
