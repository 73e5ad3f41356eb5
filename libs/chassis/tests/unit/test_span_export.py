"""Sampling, the allow-list of attributes, and the set-up of the exporter."""

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode
from prometheus_client import CollectorRegistry

from chassis.observability.span_export import (
    ALLOWED_ATTRIBUTES,
    AllowListExporter,
    span_export,
    tracer_provider,
)
from chassis.observability.tracing import parent_from, unrecorded_parent
from chassis.settings import ServiceSettings

LOWEST_ID, HIGHEST_ID = f"{1:032x}", "f" * 32  # TraceIdRatioBased samples the lowest ids first


def provider_with(ratio: float, *, trust_parent: bool) -> TracerProvider:
    settings = ServiceSettings(service_name="things", otel_traces_sampler_arg=ratio)
    return tracer_provider(settings, trust_parent=trust_parent)


def is_sampled(provider: TracerProvider, traceparent: str | None) -> bool:
    span = provider.get_tracer("test").start_span("request", context=parent_from(traceparent))
    return span.get_span_context().trace_flags.sampled


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_service_follows_the_sampling_decision_of_its_caller(ratio: float) -> None:
    provider = provider_with(ratio, trust_parent=True)
    assert is_sampled(provider, f"00-{HIGHEST_ID}-{'cd' * 8}-01")
    assert not is_sampled(provider, f"00-{LOWEST_ID}-{'cd' * 8}-00")


@pytest.mark.parametrize("trust_parent", [True, False])
def test_ratio_decides_for_new_traces(trust_parent: bool) -> None:
    provider = provider_with(0.25, trust_parent=trust_parent)
    assert 0.2 < sum(is_sampled(provider, None) for _ in range(5_000)) / 5_000 < 0.3


@pytest.mark.parametrize("flags", ["00", "01"])
@pytest.mark.parametrize("trace_id", [LOWEST_ID, HIGHEST_ID])
def test_gateway_samples_by_its_ratio_independent_of_the_caller(trace_id: str, flags: str) -> None:
    """The caller's flag and trace id neither force nor prevent recording."""
    provider = provider_with(0.25, trust_parent=False)
    parent = f"00-{trace_id}-{'cd' * 8}-{flags}"
    assert 0.2 < sum(is_sampled(provider, parent) for _ in range(5_000)) / 5_000 < 0.3


def test_gateway_samples_the_children_of_a_sampled_request_only() -> None:
    provider = provider_with(1.0, trust_parent=False)
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("request"):
        assert tracer.start_span("call").get_span_context().trace_flags.sampled
    probe = tracer.start_span("probe", context=unrecorded_parent())
    assert not probe.get_span_context().trace_flags.sampled


def exported(exporter: SpanExporter, registry: CollectorRegistry) -> None:
    """Export one span with an attribute, an event and a status that quote a customer."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        SimpleSpanProcessor(AllowListExporter(lambda: exporter, registry, ALLOWED_ATTRIBUTES))
    )
    span = provider.get_tracer("test").start_span("GET /things/{thing_id}")
    span.set_attributes({"http.response.status_code": 500, "customer.email": "alice@example.com"})
    span.record_exception(ValueError("alice@example.com"))
    span.set_status(Status(StatusCode.ERROR, "alice@example.com"))
    span.end()
    provider.shutdown()


def test_attributes_outside_the_allow_list_events_and_descriptions_are_not_exported() -> None:
    memory, registry = InMemorySpanExporter(), CollectorRegistry()
    exported(memory, registry)
    [span] = memory.get_finished_spans()
    assert span.attributes == {"http.response.status_code": 500}
    assert span.status.status_code is StatusCode.ERROR
    assert "alice" not in span.to_json()
    assert registry.get_sample_value("spans_exported_total") == 1


def test_spans_refused_by_the_collector_are_counted() -> None:
    class Refusing(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.FAILURE

    registry = CollectorRegistry()
    exported(Refusing(), registry)
    assert registry.get_sample_value("spans_dropped_total", {"reason": "not_sent"}) == 1
    assert registry.get_sample_value("spans_exported_total") == 0


async def test_without_an_endpoint_no_export_thread_is_started() -> None:
    before = threading.active_count()
    async with span_export(ServiceSettings(service_name="things"), CollectorRegistry()):
        assert threading.active_count() == before
