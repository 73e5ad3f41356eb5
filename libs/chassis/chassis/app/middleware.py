"""The outermost middleware of every service, in plain ASGI.

It continues the trace, limits the body, turns an unexpected exception into a problem document, and
records each finished request: access log, latency metric and server span.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.trace import Span, SpanKind, format_trace_id
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.app.body_limits import announced_length, limit_body, too_large
from chassis.app.gc_tuning import tune_garbage_collection
from chassis.observability.metrics import request_histogram
from chassis.observability.tracing import (
    mark_failed,
    parent_from_headers,
    start_span,
    trace_id,
    unrecorded_parent,
)
from chassis.problems import instance_of, internal_error, problem_response

log = logging.getLogger(__name__)

QUIET_PATHS = ("/health", "/health/ready", "/metrics")  # measured, but neither logged nor traced
CLIENT_CLOSED_REQUEST = 499  # nginx's code: the client went away before a response began
UNMATCHED = "unmatched"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_template(scope: Scope) -> str:
    """Return the path template, such as `/api/things/{thing_id}`, or `unmatched` without a route.

    The path itself is never recorded: it may hold an e-mail address.
    """
    route = scope.get("route")
    # `path_format` is a path without its convertors; the gateway's operations have a path alone.
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return path or UNMATCHED


class RequestMiddleware:
    """Trace, limit, log and measure each HTTP request.

    Args:
        max_body_bytes: larger bodies get 413; None where the app limits bodies itself.
        larger_bodies: the limit of some paths instead.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: CollectorRegistry,
        max_body_bytes: int | None = 1_000_000,
        larger_bodies: Mapping[str, int] | None = None,
    ) -> None:
        self._app = app
        self._max_body = max_body_bytes
        self._larger_bodies = larger_bodies or {}
        self._duration = request_histogram(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, _tuned_after_startup(send))
            return

        started = time.perf_counter()
        is_quiet = scope["path"] in QUIET_PATHS
        method = scope["method"] if scope["method"] in _METHODS else "other"
        parent = unrecorded_parent() if is_quiet else parent_from_headers(scope["headers"])
        with start_span(
            method, SpanKind.SERVER, parent=parent, expected=asyncio.CancelledError
        ) as span:
            response = _Response(send)
            try:
                await self._run(scope, receive, response.send)
            except Exception as error:
                log.exception("unexpected error", extra={"route": route_template(scope)})
                mark_failed(span, type(error).__name__)
                if response.status:
                    raise  # the response has begun: only a broken connection tells the client
                await internal_error(instance_of(scope))(scope, receive, response.send)
            finally:
                seconds = time.perf_counter() - started
                route = route_template(scope)
                status = response.status or CLIENT_CLOSED_REQUEST
                _describe_span(span, method, route, status)
                self._measure(span, method, route, status, seconds)
                if not is_quiet:
                    _log_access(method, route, status, seconds)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._larger_bodies.get(scope["path"], self._max_body)
        if limit is not None:
            announced = announced_length(scope)
            if announced is not None and announced > limit:
                response = problem_response(413, too_large(limit), instance=instance_of(scope))
                await response(scope, receive, send)
                return
            if announced is None:  # no body or a chunked one; the server enforces a Content-Length
                receive = limit_body(receive, limit)
        await self._app(scope, receive, send)

    def _measure(self, span: Span, method: str, route: str, status: int, seconds: float) -> None:
        context = span.get_span_context()
        exemplar = (
            {"trace_id": format_trace_id(context.trace_id)} if context.trace_flags.sampled else None
        )
        self._duration.labels(method, route, status).observe(seconds, exemplar)


class _Response:
    """The response's status, 0 before it begins; adds the header `X-Trace-Id`."""

    def __init__(self, send: Send) -> None:
        self.status = 0
        self._send = send
        self._trace_id = trace_id()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._trace_id is not None:
                header = (b"x-trace-id", self._trace_id.encode("ascii"))
                message["headers"] = [*message.get("headers", ()), header]
        await self._send(message)


def _describe_span(span: Span, method: str, route: str, status: int) -> None:
    span.set_attribute(HTTP_REQUEST_METHOD, method)
    span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
    if route != UNMATCHED:
        span.update_name(f"{method} {route}")
        span.set_attribute(HTTP_ROUTE, route)
    if status >= 500:
        mark_failed(span, str(status))


def _log_access(method: str, route: str, status: int, seconds: float) -> None:
    fields = {
        "method": method,
        "route": route,
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
    }
    log.info("request", extra=fields)


def _tuned_after_startup(send: Send) -> Send:
    """Tune the garbage collector when the app's start is complete."""

    async def tuned(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            tune_garbage_collection()
        await send(message)

    return tuned
