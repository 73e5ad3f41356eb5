"""The span receiver: storage, search, display and invalid exports."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fleet.emulators.traces import page
from fleet.emulators.traces.store import ORDER_NUMBER, Span, Store, Trace
from fleet.errors import FleetError
from fleet.processes.ports import free_port
from fleet.processes.program import Port
from fleet.servers.traces import TracesServer
from fleet.testing.temporary_servers import TemporaryServers
from fleet.tools.traces import fetch, show

TOP = Span("ab" * 16, "01" * 8, "", "gateway", "POST /api/orders", "server", 1_000_000, 9_000_000)
MIDDLE = replace(TOP, span_id="02" * 8, parent_id="01" * 8, service="order", started=2_000_000)
LOWER = replace(MIDDLE, span_id="03" * 8, parent_id="02" * 8, name="confirm", started=3_000_000)
LATER = replace(MIDDLE, span_id="04" * 8, name="later", started=4_000_000, ended=5_000_000)
ORDER = replace(LOWER, attributes={ORDER_NUMBER: "ORD-1"})


def trace_of(*spans: Span) -> Trace:
    trace = Trace(spans[0].trace_id)
    trace.spans = {span.span_id: span for span in spans}
    return trace


def test_spans_are_ordered_below_their_parents() -> None:
    rows = trace_of(LATER, ORDER, TOP, MIDDLE).rows()
    assert [(row.span.span_id[:2], row.depth) for row in rows] == [
        ("01", 0),
        ("02", 1),
        ("03", 2),
        ("04", 1),
    ]


def test_span_with_missing_parent_is_shown() -> None:
    assert [row.depth for row in trace_of(LOWER, TOP).rows()] == [0, 0]


def test_cyclic_spans_are_shown_once() -> None:
    ring = trace_of(replace(TOP, parent_id=MIDDLE.span_id), MIDDLE)
    assert len(ring.rows()) == 2


def test_store_removes_oldest_trace_and_bounds_each_trace() -> None:
    store = Store(limit=10)
    for number in range(20):
        store.add([replace(TOP, trace_id=f"{number:032x}", started=number)])
    assert [int(trace.id, 16) for trace in store] == list(range(19, 9, -1))
    store.add(replace(TOP, span_id=f"{number:016x}") for number in range(5_000))
    assert [len(trace.spans) for trace in store] == [2_000]


def test_list_is_ordered_by_start_time() -> None:
    store = Store(limit=10)
    for started in (2_000, 3_000, 1_000):
        store.add([replace(TOP, trace_id=f"{started:032x}", started=started)])
    assert [trace.started for trace in store] == [3_000, 2_000, 1_000]


def test_trace_is_found_by_id_and_order_number() -> None:
    store = Store(limit=10)
    store.add([TOP, ORDER, TOP])
    assert store.find("abab") is not None
    found = store.find("ord-1")
    assert found is not None
    assert len(found.spans) == 2
    assert store.find("ORD-2") is None


def test_span_content_is_escaped() -> None:
    nasty = "<script>alert(1)</script>'\""
    span = replace(TOP, name=nasty, service=nasty, kind=nasty, attributes={nasty: nasty})
    for text in (page.one(trace_of(span)), page.latest([trace_of(span)])):
        assert "<script" not in text
        assert "&lt;script&gt;" in text


@pytest.fixture(scope="module")
def server() -> Iterator[TracesServer]:
    servers = TemporaryServers()
    program = TracesServer(servers.folder, Port(free_port()))
    runner = servers.start(program)
    yield program
    runner.kill()
    servers.remove()


def call(server: TracesServer, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def exported(*spans: Span) -> bytes:
    """Send a request like an exporter."""
    request = ExportTraceServiceRequest()
    for span in spans:
        resource = request.resource_spans.add()
        name = resource.resource.attributes.add(key="service.name")
        name.value.string_value = span.service
        sent = resource.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(span.trace_id),
            span_id=bytes.fromhex(span.span_id),
            parent_span_id=bytes.fromhex(span.parent_id),
            name=span.name,
            kind=2,
            start_time_unix_nano=span.started,
            end_time_unix_nano=span.ended,
        )
        for key, value in span.attributes.items():
            sent.attributes.add(key=key).value.string_value = value
    return bytes(request.SerializeToString())


def test_exported_trace_is_shown_by_page_command_and_json(
    server: TracesServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FleetError, match="no traces yet"):
        show(server.port, "")
    status, _ = call(server, "POST", "/v1/traces", exported(TOP, MIDDLE))
    zipped = gzip.compress(exported(ORDER))
    assert status == 200
    headers = {"Content-Encoding": "gzip"}
    assert call(server, "POST", "/v1/traces", zipped, **headers)[0] == 200
    assert fetch(server.port, "ORD-1").spans[ORDER.span_id].parent_id == MIDDLE.span_id
    show(server.port, "")
    printed = capsys.readouterr().out
    assert "ORD-1  3 spans, 8.0 ms" in printed
    assert "    confirm" in printed
    assert json.loads(call(server, "GET", "/api/traces")[1])[0]["order"] == "ORD-1"
    assert b"ORD-1" in call(server, "GET", "/")[1]
    assert b"confirm" in call(server, "GET", f"/trace/{TOP.trace_id}")[1]
    with pytest.raises(FleetError, match="no trace of 'ORD-2'"):
        show(server.port, "ORD-2", seconds=0)


def test_command_waits_for_late_trace(
    server: TracesServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each service exports its spans at its own time, up to 2 seconds after the request."""
    now = time.time_ns()
    top = replace(TOP, trace_id="cd" * 16, started=now, ended=now + 1_000_000)
    later = replace(top, span_id="02" * 8, parent_id=top.span_id, service="order")
    timers = [
        threading.Timer(seconds, call, (server, "POST", "/v1/traces", exported(span)))
        for seconds, span in ((0.5, top), (1.2, later))
    ]
    for timer in timers:
        timer.start()
    show(server.port, top.trace_id)
    for timer in timers:
        timer.join()
    printed = capsys.readouterr().out
    assert "has not arrived; waiting up to 5 s" in printed
    assert "2 spans" in printed


def test_invalid_export_is_refused(server: TracesServer) -> None:
    assert call(server, "POST", "/v1/traces", b"\xff not protobuf")[0] == 400
    headers = {"Content-Encoding": "gzip"}
    assert call(server, "POST", "/v1/traces", b"not gzip", **headers)[0] == 400
    headers = {"Content-Length": "99999999999"}
    assert call(server, "POST", "/v1/traces", b"", **headers)[0] == 413
    assert call(server, "POST", "/v1/logs", b"")[0] == 404
    for path in ("/nowhere", "/trace/none", "/api/traces/none"):
        assert call(server, "GET", path)[0] == 404
