"""Shut a server down without losing a request.

Usage: `uvicorn --http chassis.app.graceful_shutdown:DrainingProtocol`.

uvicorn, told to stop, closes its listener and every connection that is idle just then. A caller may
be sending a request on one of them at that moment: it is lost, and who sent it cannot know whether
it has run. Likewise where the head of an answer is out and did not say that it is the last one.

Here such a connection stays open until its keep-alive time is over, or its caller's, which is
shorter (3 s in this platform). What comes meanwhile is answered, with `Connection: close`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from chassis.app.http_parser import RequestParser
from chassis.app.outlet import Outlet

_FRESH_SECONDS = 1.0  # for the first request of a connection that was only just made


class DrainingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a graceful shutdown that loses no request, with one write for
    each small response, and without protocol upgrades."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = RequestParser(self)  # type: ignore[assignment]  # the same interface
        self._is_draining = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._outlet = Outlet(transport, self.loop, self.end_after_answer)

    def end_after_answer(self) -> None:
        """Called where an answer was the connection's last."""
        self.transport.close()

    def shutdown(self) -> None:
        """Called once, by the server, when the listener has been closed."""
        self._is_draining = True
        request = self._request()
        if request is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                _FRESH_SECONDS, self.timeout_keep_alive_handler
            )
        elif not request.response_started:
            request.keep_alive = False

    def on_headers_complete(self) -> None:
        """Answer what comes now with `Connection: close`: uvicorn writes it for such a request."""
        if self.parser.should_upgrade():
            return  # RequestParser parses this head again
        super().on_headers_complete()
        self.cycle.transport = self._outlet  # type: ignore[assignment]
        if self._is_draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _request(self) -> RequestResponseCycle | None:
        """The request in hand, or the last one; uvicorn's type denies that there may be none."""
        return self.cycle
