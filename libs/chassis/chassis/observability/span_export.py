"""Set up OpenTelemetry's SDK from the settings: sampling, resource, and export over OTLP/HTTP."""

import asyncio
import os
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, Status, TraceState
from opentelemetry.util.types import Attributes
from prometheus_client import CollectorRegistry, Counter

from chassis.settings import ServiceSettings

EXPORT_INTERVAL_SECONDS = 1.0
EXPORT_TIMEOUT_SECONDS = 5.0
"""For one batch with its retries. The exporter drops the batch after it."""

SHUTDOWN_SECONDS = 0.5

ALLOWED_ATTRIBUTES = frozenset(
    {
        "db.system.name",
        "error.type",
        "event_type",
        "http.request.method",
        "http.request.resend_count",
        "http.response.status_code",
        "http.route",
        "messaging.consumer.group.name",
        "messaging.destination.name",
        "messaging.destination.partition.id",
        "messaging.kafka.offset",
        "messaging.system",
        "outcome",
        "peer.service",
    }
)
"""The span attributes that every service may export. Their values hold no personal data."""


class UntrustedParent(Sampler):
    """Sample a share of the traces that begin outside, whatever their callers ask for.

    TraceIdRatioBased decides by the trace id, which a caller can choose so that it is sampled.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        is_sampled = random.random() < self._ratio  # noqa: S311  a share, not a secret
        sampler = ALWAYS_ON if is_sampled else ALWAYS_OFF
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        return f"UntrustedParent{{{self._ratio}}}"


def tracer_provider(settings: ServiceSettings, *, trust_parent: bool = True) -> TracerProvider:
    """Return a provider without an exporter; its spans have ids, which logs and messages carry.

    Args:
        trust_parent: False where strangers call: they do not decide which traces are recorded.
    """
    ratio = settings.otel_traces_sampler_arg
    root = TraceIdRatioBased(ratio)
    untrusted = UntrustedParent(ratio)
    sampler = (
        ParentBased(root)
        if trust_parent
        else ParentBased(root, remote_parent_sampled=untrusted, remote_parent_not_sampled=untrusted)
    )
    resource = Resource.create(
        {
            "service.name": settings.service_name,
            "service.version": settings.service_version,
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            "deployment.environment.name": settings.environment,
        }
    )
    return TracerProvider(sampler, resource, shutdown_on_exit=False)


def configure_tracing(settings: ServiceSettings, *, trust_parent: bool = True) -> None:
    """Set the process's tracer provider; later calls have no effect, as in OpenTelemetry."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(tracer_provider(settings, trust_parent=trust_parent))


class AllowListExporter(SpanExporter):
    """Send spans without personal data to another exporter, and count them.

    Events and status descriptions are not sent: they quote exceptions.

    Args:
        connect: makes the other exporter; called with the first batch, in the exporting thread.
        allowed: names of the attributes that are sent.
    """

    def __init__(
        self,
        connect: Callable[[], SpanExporter],
        registry: CollectorRegistry,
        allowed: AbstractSet[str],
    ) -> None:
        self._connect = connect
        self._exporter: SpanExporter | None = None
        self._allowed = allowed
        self._exported = Counter("spans_exported", "Spans sent to the collector", registry=registry)
        self._dropped = Counter(
            "spans_dropped", "Spans that the collector did not take", ["reason"], registry=registry
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._exporter is None:
            self._exporter = self._connect()
        result = self._exporter.export(
            [_without_personal_data(span, self._allowed) for span in spans]
        )
        if result is SpanExportResult.SUCCESS:
            self._exported.inc(len(spans))
        else:
            self._dropped.labels("not_sent").inc(len(spans))
        return result

    def shutdown(self) -> None:
        if self._exporter is not None:
            self._exporter.shutdown()


def _without_personal_data(span: ReadableSpan, allowed: AbstractSet[str]) -> ReadableSpan:
    attributes = span.attributes or {}
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={key: attributes[key] for key in allowed & attributes.keys()},
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


@asynccontextmanager
async def span_export(
    settings: ServiceSettings,
    registry: CollectorRegistry,
    extra_attributes: AbstractSet[str] = frozenset(),
) -> AsyncIterator[None]:
    """Export the process's spans if `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

    Enter it before the resources whose work has spans, so that it ends after them.

    Args:
        extra_attributes: the service's own attributes, without personal data.
    """
    provider = trace.get_tracer_provider()
    if not settings.otel_exporter_otlp_endpoint or not isinstance(provider, TracerProvider):
        yield
        return
    allowed = ALLOWED_ATTRIBUTES | extra_attributes
    processor = batch_processor(settings.otel_exporter_otlp_endpoint, registry, allowed)
    provider.add_span_processor(processor)
    try:
        yield
    finally:
        await shut_down(processor)


def batch_processor(
    endpoint: str, registry: CollectorRegistry, allowed: AbstractSet[str] = ALLOWED_ATTRIBUTES
) -> BatchSpanProcessor:
    """Return the processor that sends spans to a collector, from a thread of its own.

    The SDK reads further settings from the environment, such as `OTEL_EXPORTER_OTLP_HEADERS`.

    Args:
        endpoint: the collector's base URL.
        allowed: names of the attributes that are sent.
    """
    exporter = AllowListExporter(lambda: _otlp_exporter(endpoint), registry, allowed)
    return BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_INTERVAL_SECONDS * 1000)


def _otlp_exporter(endpoint: str) -> SpanExporter:
    # Imported with the first batch: they take 7 MB, and a fifth of a second at the start.
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    session = requests.Session()
    session.trust_env = False  # `http_proxy` is for the internet, not for the collector
    return OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces",
        timeout=EXPORT_TIMEOUT_SECONDS,
        session=session,
    )


async def shut_down(processor: BatchSpanProcessor) -> None:
    """Send the last spans, within `SHUTDOWN_SECONDS`.

    `shutdown` waits up to 30 seconds for a collector that does not answer, so that a daemon thread
    calls it, which the end of the process does not wait for.
    """
    closing = threading.Thread(target=processor.shutdown, name="span-export-shutdown", daemon=True)
    closing.start()
    await asyncio.to_thread(closing.join, SHUTDOWN_SECONDS)
