"""From our spans to a collector: OpenTelemetry's form and encoder, one POST for each batch.

Not OpenTelemetry's own HTTP exporter: it brings requests (6 MB in each process), and its retries,
which would hold the last spans of a process for ten seconds. What retries there are is
`chassis.telemetry`'s. Imported in its thread only: 70 ms and 5 MB that not everybody pays.
"""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.re import parse_env_headers

from chassis.settings import ServiceSettings
from chassis.tracing import Kind, Span

_TIMEOUT = 5.0  # seconds for each step of a POST
_SLICE, _PAUSE = 8, 0.002  # spans that are encoded at a stretch, some 150 µs; seconds in between
_FLAGS = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("chassis")
_KINDS = {kind: SpanKind[kind.name] for kind in Kind}
_FINE, _FAILED = Status(), Status(StatusCode.ERROR)


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
        self._resource = Resource.create(
            {
                "service.name": settings.service_name,
                "service.version": settings.service_version,
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
                "deployment.environment.name": settings.environment,
            }
        )

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
            form = [self._in_their_form(span) for span in spans[begin : begin + _SLICE]]
            yield encode_spans(form).SerializeToString()

    def _in_their_form(self, span: Span) -> ReadableSpan:
        context, above = span.context, span.context.parent_id
        trace_id = int(context.trace_id, 16)
        attributes = dict(span.attributes)
        if span.error:
            attributes["error.type"] = span.error
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace_id, int(context.span_id, 16), False, _FLAGS),
            parent=SpanContext(trace_id, int(above, 16), True, _FLAGS) if above else None,
            resource=self._resource,
            attributes=attributes,
            kind=_KINDS[span.kind],
            instrumentation_scope=_SCOPE,
            status=_FAILED if span.error else _FINE,
            start_time=span.started,
            end_time=span.ended,
        )
