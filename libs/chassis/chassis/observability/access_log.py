"""What is told of a request that is over: its duration as a metric, its span, its line in the log.

None of it has to be told before the next request is served. So it waits a moment for company: told
together, each costs a fraction of what it costs by itself, amid other work (docs/adr/0028). A
process that is killed has not told its last requests.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from chassis.observability.metrics import request_histogram
from chassis.observability.tracing import Kind, TraceContext, is_recording, record

log = logging.getLogger(__name__)

QUIET = ("/health", "/health/ready", "/metrics")  # measured, but not logged
_SECONDS, _MOST = 0.1, 64  # that one waits; that are told at a stretch, some 0.4 ms
_SERIES = 1024  # remembered; every label comes from a closed set
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        route: the template, never the path, which may hold an e-mail address.
        status: 0 where no answer has begun.
        error: the class of an exception that nobody expected.
        started, took: nanoseconds, on a clock that only goes forward.
        ended: nanoseconds since 1970.
    """

    method: str
    trace: TraceContext
    started: int
    route: str = ""
    status: int = 0
    error: str = ""
    took: int = 0
    ended: int = 0

    def end(self, route: str) -> None:
        """It is over now."""
        self.took = time.perf_counter_ns() - self.started
        self.ended = time.time_ns()
        self.route = route
        if self.method not in _METHODS:
            self.method = "other"
        if not self.status:
            self.status = 499  # the client went away before an answer began


class RequestLog(Collector):
    """Belongs to one app. Whoever reads the registry finds every request that is over."""

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(self)  # before the histogram, so as to be asked before it
        self._series = lru_cache(_SERIES)(request_histogram(registry).labels)
        self._over: list[Exchange] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will have it told

    def add(self, exchange: Exchange) -> None:
        """Take what is over; it is told a moment later."""
        self._over.append(exchange)
        if len(self._over) >= _MOST:
            self.tell()
            return
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            loop.call_later(_SECONDS, self._time_is_up)

    def collect(self) -> Iterable[Metric]:
        """The registry's call; there are no metrics here but the histogram's."""
        self.tell()
        return ()

    def tell(self) -> None:
        """Tell of all that is over."""
        over, self._over = self._over, []
        for exchange in over:
            self._measure(exchange)
        if log.isEnabledFor(logging.INFO):
            for exchange in over:
                if exchange.route not in QUIET:
                    _log(exchange)

    def _time_is_up(self) -> None:
        self._loop = None
        self.tell()

    def _measure(self, exchange: Exchange) -> None:
        exemplar = None
        if is_recording(exchange.trace):
            exemplar = {"trace_id": exchange.trace.trace_id}
            _record_span(exchange)
        series = self._series(exchange.method, exchange.route, exchange.status)
        series.observe(exchange.took / 1e9, exemplar)


def _log(exchange: Exchange) -> None:
    fields = {
        "trace_id": exchange.trace.trace_id,
        "span_id": exchange.trace.span_id,
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "milliseconds": round(exchange.took / 1e6, 1),
    }
    line = log.makeRecord(log.name, logging.INFO, "", 0, "request", (), None, extra=fields)
    line.created = exchange.ended / 1e9
    log.handle(line)


def _record_span(exchange: Exchange) -> None:
    error = exchange.error or (str(exchange.status) if exchange.status >= 500 else "")
    attributes: dict[str, str | int] = {
        "http.request.method": exchange.method,
        "http.response.status_code": exchange.status,
    }
    name = exchange.method
    if exchange.route != "unmatched":
        attributes["http.route"] = exchange.route
        name = f"{exchange.method} {exchange.route}"
    record(
        exchange.trace, name, Kind.SERVER, exchange.took, attributes, error, ended=exchange.ended
    )
