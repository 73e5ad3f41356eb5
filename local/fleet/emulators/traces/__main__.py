"""Run the trace receiver: OTLP, HTML and JSON on the standard library's HTTP server."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import zlib
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from fleet.emulators.traces import page
from fleet.emulators.traces.otlp import Unreadable, decode
from fleet.emulators.traces.store import Store, Trace
from fleet.processes.program import HOST

_LARGEST = 16 * 1024 * 1024
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


class Handler(BaseHTTPRequestHandler):
    """``POST /v1/traces``; ``/``, ``/trace/<id>``; ``/api/traces``, ``/api/traces/<id or order>``.

    A trace in JSON has its id, its order number, and spans with the fields of ``Span``.
    """

    protocol_version = "HTTP/1.1"  # keep-alive for exporters
    disable_nagle_algorithm = True
    store: ClassVar[Store]

    def do_POST(self) -> None:
        """Receive spans."""
        length = self.headers.get("Content-Length", "")
        if self.path != "/v1/traces" or not length.isdecimal() or int(length) > _LARGEST:
            self.close_connection = True  # its body was not read
            self._answer(404 if self.path != "/v1/traces" else 413)
            return
        body = self.rfile.read(int(length))
        try:
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self.store.add(decode(body))
        except (Unreadable, OSError, EOFError, zlib.error):
            self._answer(400)
        else:
            self._answer(200, b"", "application/x-protobuf")

    def do_GET(self) -> None:
        """Answer with a page or JSON."""
        path = self.path.partition("?")[0]
        if path == "/health":
            self._json({"status": "UP"})
        elif path == "/":
            self._html(200, page.latest(self.store))
        elif path == "/api/traces":
            self._json([_summary(trace) for trace in self.store])
        elif path.startswith("/trace/"):
            trace = self.store.find(path.removeprefix("/trace/"))
            self._html(200, page.one(trace)) if trace else self._html(404, page.missing())
        elif path.startswith("/api/traces/"):
            trace = self.store.find(path.removeprefix("/api/traces/"))
            self._json(_whole(trace)) if trace else self._answer(404)
        else:
            self._answer(404)

    def log_message(self, format: str, *args: object) -> None:
        """Log no requests."""

    def _html(self, status: int, text: str) -> None:
        self._answer(status, text.encode(), "text/html; charset=utf-8")

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)


def _summary(trace: Trace) -> dict[str, Any]:
    return {
        "trace_id": trace.id,
        "name": trace.name,
        "order": trace.order,
        "services": trace.services,
        "spans": len(trace.spans),
        "milliseconds": round(trace.milliseconds, 3),
    }


def _whole(trace: Trace) -> dict[str, Any]:
    spans = [asdict(row.span) for row in trace.rows()]
    return {"trace_id": trace.id, "order": trace.order, "spans": spans}


def main() -> None:
    """Read the port and TRACES_MAX, the number of stored spans."""
    parser = argparse.ArgumentParser(prog="python -m fleet.emulators.traces", description=__doc__)
    parser.add_argument("--port", type=int, default=4318)
    arguments = parser.parse_args()
    Handler.store = Store(int(os.environ.get("TRACES_MAX") or 20_000))
    server = ThreadingHTTPServer((HOST, arguments.port), Handler)
    server.serve_forever()


if __name__ == "__main__":
    main()
