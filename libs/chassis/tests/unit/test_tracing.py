"""Spans, their parents, and the trace context of rows and messages."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chassis.observability.tracing import (
    parent_from,
    parent_from_headers,
    span,
    start_span,
    trace_headers,
    trace_id,
    traceparent,
    unrecorded_parent,
    use_parent,
)

TRACE_ID = "ab" * 16
SAMPLED = f"00-{TRACE_ID}-{'cd' * 8}-03"
UNSAMPLED = f"00-{TRACE_ID}-{'cd' * 8}-00"


def test_outgoing_context_names_the_innermost_span(spans: InMemorySpanExporter) -> None:
    with start_span("outer", SpanKind.CONSUMER, {"topic": "t"}, parent=parent_from(SAMPLED)):
        with span("inner", SpanKind.CLIENT) as inner:
            inner.set_attribute("status", 200)
            sent = traceparent()
        after = traceparent()
    first, second = spans.get_finished_spans()
    assert (first.name, first.kind, first.attributes) == ("inner", SpanKind.CLIENT, {"status": 200})
    assert (second.name, second.kind, second.attributes) == (
        "outer",
        SpanKind.CONSUMER,
        {"topic": "t"},
    )
    assert first.parent is not None
    assert second.parent is not None
    assert first.parent.span_id == second.context.span_id
    assert second.parent.span_id == int("cd" * 8, 16)
    assert first.context.trace_id == second.context.trace_id == int(TRACE_ID, 16)
    assert sent == f"00-{TRACE_ID}-{first.context.span_id:016x}-03"
    assert after == f"00-{TRACE_ID}-{second.context.span_id:016x}-03"


def test_unsampled_trace_continues_without_recorded_spans(spans: InMemorySpanExporter) -> None:
    with use_parent(UNSAMPLED), span("work"):
        sent = traceparent()
    assert sent is not None
    assert sent.split("-")[1] == TRACE_ID
    assert sent.endswith("-00")
    assert spans.get_finished_spans() == ()


def test_span_outside_a_trace_starts_none(spans: InMemorySpanExporter) -> None:
    with span("round of a background loop"):
        assert trace_id() is None
        assert traceparent() is None
        assert trace_headers() == {}
    assert spans.get_finished_spans() == ()


def test_failed_span_has_the_class_of_its_exception_but_not_its_message(
    spans: InMemorySpanExporter,
) -> None:
    with pytest.raises(ValueError, match="alice"), use_parent(SAMPLED), span("work"):
        raise ValueError("alice@example.com")
    [failed] = spans.get_finished_spans()
    assert failed.attributes == {"error.type": "ValueError"}
    assert failed.status.status_code is StatusCode.ERROR
    assert "alice" not in failed.to_json()


def test_expected_exception_does_not_fail_the_span(spans: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), use_parent(SAMPLED), span("work", expected=LookupError):
        raise KeyError
    [done] = spans.get_finished_spans()
    assert done.status.status_code is StatusCode.UNSET
    assert done.attributes == {}


def test_stored_parent_applies_inside_its_block_only(spans: InMemorySpanExporter) -> None:
    with trace.get_tracer("test").start_as_current_span("request"):
        own = traceparent()
        with use_parent(SAMPLED), span("send", SpanKind.PRODUCER):
            pass
        with use_parent(None):
            assert traceparent() is None
        assert traceparent() == own
    sent = spans.get_finished_spans()[0]
    assert sent.parent is not None
    assert sent.parent.span_id == int("cd" * 8, 16)


@pytest.mark.parametrize("value", [None, "", "garbage", SAMPLED[:-1], SAMPLED.replace("ab", "00")])
def test_missing_or_invalid_parent_starts_a_new_trace(value: str | None) -> None:
    with start_span("work", SpanKind.CONSUMER, parent=parent_from(value)):
        assert trace_id() not in (None, TRACE_ID)


def test_vendor_state_of_the_request_headers_is_forwarded() -> None:
    headers = [
        (b"traceparent", SAMPLED.encode()),
        (b"tracestate", b"first=1"),
        (b"tracestate", b"second=2"),
        (b"authorization", b"Bearer secret"),
    ]
    with start_span("request", SpanKind.SERVER, parent=parent_from_headers(headers)):
        sent = trace_headers()
    assert sent.keys() == {"traceparent", "tracestate"}
    assert sent["tracestate"].replace(" ", "") == "first=1,second=2"


def test_spans_below_an_unrecorded_parent_have_ids_and_are_not_recorded(
    spans: InMemorySpanExporter,
) -> None:
    with start_span("probe", SpanKind.SERVER, parent=unrecorded_parent()), span("ping"):
        assert trace_id() is not None
    assert spans.get_finished_spans() == ()
