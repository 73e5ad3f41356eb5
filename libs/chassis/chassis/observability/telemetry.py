"""Spans to a collector, from a thread of its own.

Whoever records a span pays for an append to a list in memory. Turning it into OpenTelemetry's form
and sending it is the thread's, in batches (`chassis.observability.otlp`).

A collector that is away, slow or hanging costs only spans: the list is bounded, what does not fit
is counted and forgotten, and after a failure nothing is even prepared before a wait is over.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter

from chassis.observability.tracing import Span, record_to
from chassis.settings import ServiceSettings

log = logging.getLogger(__name__)

QUEUE = 2048  # spans that wait, at most; some 1 kB each
_BATCH = 512
_INTERVAL = 1.0  # seconds that a span waits for company
_GRACE = 0.5  # seconds that the end of a process may take for its last spans

Send = Callable[[Sequence[Span]], bool]
"""Sends a batch, for as long as it takes; whether it arrived."""


class SpanExport:
    """The list and the thread. `take` is the process's sink.

    Args:
        connect: makes what sends; called in the thread when there are spans, because there and then
            its imports delay nobody.
        retry_max_seconds: longest wait before a collector that is away is tried again.
    """

    def __init__(
        self,
        connect: Callable[[], Send],
        registry: CollectorRegistry,
        retry_max_seconds: float = 30.0,
    ) -> None:
        self._connect = connect
        self._retry_max_seconds = retry_max_seconds
        self._send: Send | None = None
        self._spans: deque[Span] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)
        self._exported = Counter("spans_exported", "Spans sent to the collector", registry=registry)
        dropped = Counter(
            "spans_dropped", "Spans that were recorded and lost", ["reason"], registry=registry
        )
        self._overflow = dropped.labels("queue_full")
        self._lost = dropped.labels("not_sent")

    def take(self, span: Span) -> None:
        """Keep a span until it is sent, or forget it where too many wait."""
        waiting = len(self._spans)
        if waiting >= QUEUE:
            self._overflow.inc()
            return
        self._spans.append(span)
        if waiting == _BATCH:
            self._wake.set()

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Send what is left if that is quickly done. Whatever the collector does, it returns."""
        self._stop.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, 0.0 if self._failures else _GRACE)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._failures:
                self._stop.wait(min(self._retry_max_seconds, 2.0**self._failures))
            else:
                self._wake.wait(_INTERVAL)
                self._wake.clear()
            self._drain()

    def _drain(self) -> None:
        while self._spans and not (self._failures and self._stop.is_set()):
            # One is enough to find out whether a collector that was away is back.
            most = 1 if self._failures else _BATCH
            batch = [self._spans.popleft() for _ in range(min(most, len(self._spans)))]
            if not self._sent(batch):
                self._lost.inc(len(batch))
                self._failures += 1
                if self._failures == 1:
                    log.warning("the collector takes no spans; they are dropped until it does")
                return
            self._exported.inc(len(batch))
            if self._failures:
                log.info("the collector takes spans again")
            self._failures = 0

    def _sent(self, batch: Sequence[Span]) -> bool:
        try:
            if self._send is None:
                self._send = self._connect()
            return self._send(batch)
        except Exception:
            log.exception("spans could not be sent")
            return False


@asynccontextmanager
async def exported_spans(
    settings: ServiceSettings, registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Records and exports this process's spans, where `OTEL_EXPORTER_OTLP_ENDPOINT` says whereto.

    Enter it before what makes spans is opened; so it is left after that is closed.
    """
    if not settings.otel_exporter_otlp_endpoint or settings.otel_sdk_disabled:
        yield
        return
    export = SpanExport(
        lambda: _collector(settings), registry, settings.otel_export_retry_max_seconds
    )
    export.start()
    record_to(export.take, settings.otel_traces_sampler_arg)
    try:
        yield
    finally:
        record_to(None)
        await export.stop()


def _collector(settings: ServiceSettings) -> Send:
    from chassis.observability.otlp import Collector

    return Collector(settings).send
