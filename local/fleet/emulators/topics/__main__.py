"""Run the topics page: HTML and JSON on the standard library's HTTP server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from fleet.clients.topic_reader import BrokerAway
from fleet.emulators.topics import page, views
from fleet.processes.program import HOST

T = TypeVar("T")

log = logging.getLogger(__name__)

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_MOST = 1_000  # messages of each partition in one response
_AT_ONCE = 2  # concurrent reads of the broker
_PATIENCE = 15.0  # seconds for one read, and for the wait before it


@dataclass(frozen=True)
class Question:
    """A request target: path and query parameters."""

    path: str
    last: int
    query: str

    @classmethod
    def of(cls, target: str) -> Question:
        """Parse a request target; raise ``ValueError`` with a message."""
        url = urlsplit(target)
        asked = parse_qs(url.query)
        last = asked.get("n", [str(page.COUNTS[0])])[0]
        if not (last.isascii() and last.isdecimal() and 1 <= int(last[:9]) <= _MOST):
            raise ValueError(f"n says how many of each partition: a number from 1 to {_MOST}.")
        return cls(url.path, int(last), asked.get("q", [""])[0])


class Handler(BaseHTTPRequestHandler):
    """``/``, ``/topic/<name>?n=&q=``; ``/api/topics``, ``/api/topics/<name>/messages?n=&q=``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30  # seconds that a connection may be idle
    bootstrap: ClassVar[str]
    turns: ClassVar[threading.BoundedSemaphore] = threading.BoundedSemaphore(_AT_ONCE)

    def do_GET(self) -> None:
        """Answer with a page or JSON, or with an error message."""
        as_json = self.path.startswith("/api/")
        try:
            self._route(Question.of(self.path))
        except ValueError as error:
            self._refuse(400, "This cannot be asked", str(error), as_json)
        except BrokerAway as error:
            self._refuse(503, "Kafka is away", str(error), as_json)
        except Exception:
            log.exception("a page failed")
            self._refuse(500, "This page failed", "Its log says why: make logs s=topics", as_json)

    def _route(self, question: Question) -> None:
        path = question.path
        if path == "/health":
            self._json({"status": "UP"})
        elif path == "/page.css":
            self._answer(200, page.STYLE.encode(), "text/css; charset=utf-8")
        elif path == "/":
            self._html(200, page.topics(self._read(views.overview(self.bootstrap)), self.bootstrap))
        elif path == "/api/topics":
            self._json(_overview(self._read(views.overview(self.bootstrap))))
        elif path.startswith("/topic/"):
            self._topic(path.removeprefix("/topic/"), question, as_json=False)
        elif path.startswith("/api/topics/") and path.endswith("/messages"):
            name = path.removeprefix("/api/topics/").removesuffix("/messages")
            self._topic(name, question, as_json=True)
        else:
            self._refuse(404, "Not here", "There is no such page.", path.startswith("/api/"))

    def _topic(self, name: str, question: Question, *, as_json: bool) -> None:
        name, last, query = unquote(name), question.last, question.query
        found = self._read(views.messages(self.bootstrap, name, last, query))
        if found is None:
            self._refuse(404, "Not here", f"There is no topic {name!r} at this broker.", as_json)
        elif as_json:
            self._json(_messages(found))
        else:
            self._html(200, page.latest(found, self.bootstrap, last, query))

    def _read(self, view: Coroutine[Any, Any, T]) -> T:
        """Read from the broker, within the concurrency limit."""
        if not self.turns.acquire(timeout=_PATIENCE):
            view.close()
            raise BrokerAway("Too many pages are being read at once.")
        try:
            return asyncio.run(asyncio.wait_for(view, _PATIENCE))
        except TimeoutError:
            raise BrokerAway(f"Kafka at {self.bootstrap} did not answer in time.") from None
        finally:
            self.turns.release()

    def log_message(self, format: str, *args: object) -> None:
        """Log no requests."""

    def _refuse(self, status: int, title: str, text: str, as_json: bool) -> None:
        if as_json:
            self._json({"error": text}, status)
        else:
            again = status == 503
            self._html(status, page.trouble(title, text, self.bootstrap, refresh=again))

    def _html(self, status: int, text: str) -> None:
        self._answer(status, text.encode("utf-8", "replace"), "text/html; charset=utf-8")

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        with contextlib.suppress(ConnectionError):  # the client has disconnected
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """A server that does not log disconnects of clients."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log errors other than disconnects."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _overview(found: views.Overview) -> dict[str, Any]:
    return {
        "topics": [
            {
                "name": topic.name,
                "messages": topic.messages,
                "partitions": [{"first": span.first, "end": span.end} for span in topic.partitions],
                "open_dead_letters": topic.open_letters,
            }
            for topic in found.topics
        ],
        "groups": [
            {
                "group": progress.group,
                "topic": progress.topic,
                "consumed": progress.done,
                "lag": progress.lag,
            }
            for progress in found.groups
        ],
    }


def _messages(found: views.Messages) -> dict[str, Any]:
    return {
        "topic": found.topic,
        "total": found.total,
        "searched": found.searched,
        "messages": [message.as_json() for message in found.found],
    }


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m fleet.emulators.topics", description=__doc__)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--bootstrap-servers", default=f"{HOST}:9092")
    arguments = parser.parse_args()
    Handler.bootstrap = arguments.bootstrap_servers
    Server((HOST, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
