"""The one middleware of every service, in plain ASGI: trace, body limit, access log, metrics."""

import logging
import time

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.app.body_limits import announced_length, limit_body, too_large
from chassis.app.gc_tuning import collect_rarely
from chassis.observability.access_log import QUIET, Exchange, RequestLog
from chassis.observability.tracing import TraceContext, draw, enter_trace
from chassis.problems import instance_of, internal_error, problem_response

log = logging.getLogger(__name__)


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def route_template(scope: Scope) -> str:
    """`/api/things/{thing_id}` for any of them; `unmatched` where no route took the request."""
    route = scope.get("route")
    # `path_format` is a path without its convertors; the gateway's operations have a path alone.
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return path or "unmatched"


class RequestMiddleware:
    """Wraps each HTTP request once, at the outside; and sets the garbage collector for a process
    that serves, when all is put together.

    - continues the caller's trace, or begins one, names it in `X-Trace-Id`, and records its span;
    - refuses bodies over `max_body_bytes` with 413, however their length was announced;
    - turns an exception that nobody expected into a 500 problem, logged with its traceback;
    - hands it to `chassis.observability.access_log` when it is over.

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
        self._log = RequestLog(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        started = time.perf_counter_ns()
        exchange = Exchange(scope["method"], self._enter_trace(scope), started)
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
            exchange.end(route_template(scope))
            self._log.add(exchange)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's lifespan."""

        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":  # every request is over by then
                self._log.tell()
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                collect_rarely()
            await send(message)

        await self._app(scope, received, sent)

    def _enter_trace(self, scope: Scope) -> TraceContext:
        recorded = draw() if self._public else None
        if scope["path"] in QUIET:  # nor what a probe asks of others
            recorded = False
        return enter_trace(_header(scope, b"traceparent"), recorded=recorded)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (limit := self._max_body) is not None:
            announced = announced_length(scope)
            if announced is not None and announced > limit:
                response = problem_response(413, too_large(limit), instance=instance_of(scope))
                await response(scope, receive, send)
                return
            if announced is None:  # none, or in chunks; an announced length is the server's matter
                receive = limit_body(receive, limit)
        await self._app(scope, receive, send)

    def _watched(self, send: Send, exchange: Exchange) -> Send:
        trace_header = (b"x-trace-id", exchange.trace.trace_id.encode("ascii"))

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), trace_header]
            await send(message)

        return watched
