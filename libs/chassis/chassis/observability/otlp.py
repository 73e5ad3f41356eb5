"""From our spans to a collector: OTLP's own messages, one POST for each batch.

Not OpenTelemetry's exporter: it brings requests (6 MB in each process), and its retries would
hold the last spans of a process for ten seconds. `chassis.observability.telemetry` retries.
Nor the SDK's encoder: the form of a span that it wants costs three times what the message does.
Imported in its thread only: 50 ms and 5 MB that not everybody pays.
"""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp
from opentelemetry.util.re import parse_env_headers

from chassis.observability.tracing import Attributes, Kind, Span
from chassis.settings import ServiceSettings

_TIMEOUT = 5.0  # seconds for each step of a POST
_SLICE, _PAUSE = 16, 0.002  # spans that are encoded at a stretch, some 150 µs; seconds in between
_SCOPE = InstrumentationScope(name="chassis")
_SAMPLED = 1
_KINDS = {kind: otlp.Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in Kind}
_FINE, _FAILED = otlp.Status(), otlp.Status(code=otlp.Status.STATUS_CODE_ERROR)


class Collector:
    """What `OTEL_EXPORTER_OTLP_ENDPOINT` names. Connects anew for each batch: there is one a second
    at most, and no connection can have gone stale."""

    def __init__(self, settings: ServiceSettings) -> None:
        address = urlsplit(settings.otel_exporter_otlp_endpoint)
        self._is_https = address.scheme == "https"
        self._netloc = address.netloc
        self._path = f"{address.path.rstrip('/')}/v1/traces"
        given = settings.otel_exporter_otlp_headers.get_secret_value()
        self._headers = {
            **parse_env_headers(given, liberal=True),
            "content-type": "application/x-protobuf",
        }
        about = {
            "service.name": settings.service_name,
            "service.version": settings.service_version,
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            "deployment.environment.name": settings.environment,
        }
        self._resource = Resource(attributes=_pairs(about))

    def send(self, spans: Sequence[Span]) -> bool:
        """POST them once; whether the collector took them."""
        body = b"".join(self._encoded(spans))
        kind = HTTPSConnection if self._is_https else HTTPConnection
        connection = kind(self._netloc, timeout=_TIMEOUT)
        try:
            connection.request("POST", self._path, body, self._headers)
            return 200 <= connection.getresponse().status < 300
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _encoded(self, spans: Sequence[Span]) -> Iterator[bytes]:
        """In slices: what the interpreter is kept with at a stretch, every request waits for. One
        after the other they make one message, as protobuf has it."""
        for begin in range(0, len(spans), _SLICE):
            if begin:
                time.sleep(_PAUSE)
            messages = [_message(span) for span in spans[begin : begin + _SLICE]]
            within = otlp.ScopeSpans(scope=_SCOPE, spans=messages)
            whole = otlp.ResourceSpans(resource=self._resource, scope_spans=[within])
            yield ExportTraceServiceRequest(resource_spans=[whole]).SerializeToString()


def _message(span: Span) -> otlp.Span:
    context = span.context
    attributes = _pairs(span.attributes)
    if span.error:
        attributes += _pairs({"error.type": span.error})
    return otlp.Span(
        trace_id=bytes.fromhex(context.trace_id),
        span_id=bytes.fromhex(context.span_id),
        parent_span_id=bytes.fromhex(context.parent_id),
        flags=_SAMPLED,
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.started,
        end_time_unix_nano=span.ended,
        attributes=attributes,
        status=_FAILED if span.error else _FINE,
    )


def _pairs(attributes: Attributes) -> list[KeyValue]:
    return [
        KeyValue(
            key=name,
            value=AnyValue(string_value=value)
            if isinstance(value, str)
            else AnyValue(int_value=value),
        )
        for name, value in attributes.items()
    ]
