"""Distributed tracing with OpenTelemetry: spans, and W3C trace context in rows and messages.

The trace context lives in OpenTelemetry's own context. Incoming edges (HTTP middleware, Kafka
consumer) continue the sender's trace; outgoing edges send `traceparent()`. An outbox row stores it,
so that a trace continues when the event is published later, by another process.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

tracer = trace.get_tracer("chassis")

_propagator = TraceContextTextMapPropagator()
_ids = RandomIdGenerator()


def trace_id() -> str | None:
    """Return the id of the current trace as 32 hexadecimal digits, or None outside a trace."""
    current = trace.get_current_span().get_span_context()
    return trace.format_trace_id(current.trace_id) if current.is_valid else None


def trace_headers() -> dict[str, str]:
    """Return `traceparent` and `tracestate` for an outgoing request; empty outside a trace."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers


def traceparent() -> str | None:
    """Return the `traceparent` of an outgoing message or row, or None outside a trace."""
    return trace_headers().get("traceparent")


def parent_from(traceparent: str | None) -> Context:
    """Return the context that a `traceparent` names; an empty one if it is missing or invalid."""
    return _propagator.extract({"traceparent": traceparent} if traceparent else {}, Context())


def parent_from_headers(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """Return the context that the raw headers of an ASGI scope name; empty if there is none."""
    carrier: dict[str, list[str]] = {}
    for name, value in headers:
        if name in (b"traceparent", b"tracestate"):
            carrier.setdefault(name.decode("ascii"), []).append(value.decode("latin-1"))
    return _propagator.extract(carrier, Context())


def unrecorded_parent() -> Context:
    """Return a new context in which no span is recorded, for health checks and metric scrapes."""
    parent = SpanContext(_ids.generate_trace_id(), _ids.generate_span_id(), is_remote=False)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


@contextmanager
def use_parent(traceparent: str | None) -> Iterator[None]:
    """Run a block as a part of the trace that a stored `traceparent` names."""
    token = context.attach(parent_from(traceparent))
    try:
        yield
    finally:
        context.detach(token)


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, str | int] | None = None,
    *,
    expected: type[BaseException] | tuple[type[BaseException], ...] = (),
) -> Iterator[Span]:
    """Run a block as a child of the current span.

    Without a current span there is no new one: a background loop would start a trace each round.

    Args:
        name, attributes: from closed sets, never a path, an e-mail address or a token.
        expected: exceptions that are a normal result and do not mark the span as failed.
    """
    if not trace.get_current_span().get_span_context().is_valid:
        yield trace.INVALID_SPAN
        return
    with start_span(name, kind, attributes, expected=expected) as child:
        yield child


@contextmanager
def start_span(
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, str | int] | None = None,
    *,
    parent: Context | None = None,
    expected: type[BaseException] | tuple[type[BaseException], ...] = (),
) -> Iterator[Span]:
    """Run a block in a new span below `parent`, or below the current span.

    A failed span has the exception's class. Its message and traceback may hold personal data, so
    OpenTelemetry's own recording of exceptions is off.

    Args:
        parent: the sender's context; an empty one starts a trace.
    """
    current = tracer.start_span(name, parent, kind, attributes)
    with trace.use_span(
        current, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        try:
            yield current
        except BaseException as error:
            if not isinstance(error, expected):
                mark_failed(current, type(error).__name__)
            raise


def mark_failed(failed: Span, error_type: str) -> None:
    """Mark a span as failed.

    Args:
        error_type: the class of an exception, or an HTTP status.
    """
    failed.set_attribute(ERROR_TYPE, error_type)
    failed.set_status(StatusCode.ERROR)
