"""The one middleware of every service, in plain ASGI: trace, body limit, access log, metrics."""

import logging
import time
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.garbage import collect_rarely
from chassis.metrics import request_histogram
from chassis.problems import instance_of, internal_error, problem_response
from chassis.tracing import Kind, TraceContext, draw, enter_trace, is_recording, record

log = logging.getLogger(__name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SERIES = 1024  # remembered; every label comes from a closed set
_QUIET = ("/health", "/health/ready", "/metrics")


@dataclass(slots=True)
class _Exchange:
    """What is known about one request while it runs."""

    started: int
    trace: TraceContext
    status: int = 0
    error: str = ""


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def route_template(scope: Scope) -> str:
    """`/api/things/{thing_id}` for any of them; `unmatched` where no route took the request."""
    return getattr(scope.get("route"), "path", None) or "unmatched"


def _too_large(limit: int) -> str:
    return f"The body is larger than {limit} bytes."


def _limited(receive: Receive, limit: int) -> Receive:
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return limited


def _then_collecting_rarely(send: Send) -> Send:
    async def watched(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            collect_rarely()
        await send(message)

    return watched


class RequestMiddleware:
    """Wraps each HTTP request once, at the outside; and sets the garbage collector for a process
    that serves, when all is put together.

    - continues the caller's trace, or begins one, names it in `X-Trace-Id`, and records its span;
    - refuses bodies over `max_body_bytes` with 413, however their length was announced;
    - turns an exception that nobody expected into a 500 problem, logged with its traceback;
    - logs the route's template (never the path: it may hold an e-mail address) and measures.

    Args:
        max_body_bytes: None where the app bounds bodies itself.
        public: strangers call it, so whether a trace is recorded is decided here, not by them.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: CollectorRegistry,
        max_body_bytes: int | None = 1_000_000,
        public: bool = False,
    ) -> None:
        self._app = app
        self._max_body = max_body_bytes
        self._public = public
        self._series = lru_cache(_SERIES)(request_histogram(registry).labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, _then_collecting_rarely(send))
            return
        exchange = _Exchange(time.perf_counter_ns(), self._enter_trace(scope))
        answer = self._watched(send, exchange)
        try:
            await self._run(scope, receive, answer)
        except Exception as error:
            exchange.error = type(error).__name__
            log.exception("unexpected error", extra={"route": route_template(scope)})
            if exchange.status:
                raise  # half an answer is out: only a broken connection can tell the client
            await internal_error(instance_of(scope))(scope, receive, answer)
        finally:
            self._record(scope, exchange)

    def _enter_trace(self, scope: Scope) -> TraceContext:
        recorded = draw() if self._public else None
        if scope["path"] in _QUIET:  # nor what a probe asks of others
            recorded = False
        return enter_trace(_header(scope, b"traceparent"), recorded=recorded)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (limit := self._max_body) is not None:
            announced = _header(scope, b"content-length")
            if announced and announced.isdecimal() and int(announced) > limit:
                response = problem_response(413, _too_large(limit), instance=instance_of(scope))
                await response(scope, receive, send)
                return
            if announced is None:  # none, or in chunks; an announced length is the server's matter
                receive = _limited(receive, limit)
        await self._app(scope, receive, send)

    def _watched(self, send: Send, exchange: _Exchange) -> Send:
        trace_header = (b"x-trace-id", exchange.trace.trace_id.encode("ascii"))

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), trace_header]
            await send(message)

        return watched

    def _record(self, scope: Scope, exchange: _Exchange) -> None:
        took = time.perf_counter_ns() - exchange.started
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = route_template(scope)
        status = exchange.status or 499  # the client went away before an answer began
        exemplar = None
        if is_recording(exchange.trace):
            exemplar = {"trace_id": exchange.trace.trace_id}
            self._record_span(exchange, method, route, status, took)
        self._series(method, route, status).observe(took / 1e9, exemplar)
        if route not in _QUIET:
            fields = {"method": method, "route": route, "status": status}
            log.info("request", extra={**fields, "milliseconds": round(took / 1e6, 1)})

    def _record_span(
        self, exchange: _Exchange, method: str, route: str, status: int, took: int
    ) -> None:
        error = exchange.error or (str(status) if status >= 500 else "")
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.response.status_code": status,
        }
        name = method
        if route != "unmatched":
            attributes["http.route"] = route
            name = f"{method} {route}"
        record(exchange.trace, name, Kind.SERVER, took, attributes, error)
