"""The spans of requests, messages and records: names, parents, and no personal data."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry
from test_kafka_producer import FakeAiokafka
from test_message_processor import Scene, record
from test_web import build_app

from chassis.kafka import producer as producer_module
from chassis.kafka.producer import EventProducer
from chassis.observability.tracing import use_parent

PARENT_ID = "cd" * 8
PARENT = f"00-{'ab' * 16}-{PARENT_ID}-01"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(build_app(), raise_server_exceptions=False) as client:
        yield client


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def error_of(span: ReadableSpan) -> object:
    """Return the span's `error.type`, or None without a failure."""
    error = (span.attributes or {}).get("error.type")
    assert (span.status.status_code is StatusCode.ERROR) is (error is not None)
    return error


def texts(spans: InMemorySpanExporter) -> str:
    return "".join(span.to_json() for span in spans.get_finished_spans())


def test_request_span_names_the_route_template_and_continues_the_callers_trace(
    client: TestClient, spans: InMemorySpanExporter
) -> None:
    client.get("/things/alice@example.com?token=secret", headers={"traceparent": PARENT})
    [span] = spans.get_finished_spans()
    assert (span.name, span.kind, error_of(span)) == (
        "GET /things/{thing_id}",
        SpanKind.SERVER,
        None,
    )
    assert parent_of(span) == PARENT_ID
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/things/{thing_id}",
    }
    assert "alice" not in texts(spans)
    assert "secret" not in texts(spans)


def test_span_of_an_unmatched_path_has_the_method_as_its_name(
    client: TestClient, spans: InMemorySpanExporter
) -> None:
    client.get("/alice@example.com")
    client.request("ALICE", "/alice@example.com")
    assert [span.name for span in spans.get_finished_spans()] == ["GET", "other"]
    assert "alice" not in texts(spans).lower()


def test_server_error_fails_the_request_span_and_a_client_error_does_not(
    client: TestClient, spans: InMemorySpanExporter
) -> None:
    client.post("/things", json={"name": "crash", "price": 1})
    client.post("/things", json={"name": "bad", "price": 1})
    assert [error_of(span) for span in spans.get_finished_spans()] == ["500", None]
    assert "secret-detail" not in texts(spans)


def test_health_checks_and_metric_scrapes_make_no_spans(
    client: TestClient, spans: InMemorySpanExporter
) -> None:
    for path in ("/health", "/health/ready", "/metrics"):
        client.get(path, headers={"traceparent": PARENT})
    assert spans.get_finished_spans() == ()


def test_sampled_request_is_an_exemplar_in_the_openmetrics_format(
    client: TestClient, spans: InMemorySpanExporter
) -> None:
    client.get("/things/1")
    [span] = spans.get_finished_spans()
    client.get("/things/1", headers={"traceparent": f"{PARENT[:-1]}0"})
    accepted = {"accept": "application/openmetrics-text; version=1.0.0"}
    detailed = client.get("/metrics", headers=accepted)
    assert f'trace_id="{span.context.trace_id:032x}"' in detailed.text
    assert "ab" * 16 not in detailed.text
    assert detailed.headers["content-type"].startswith("application/openmetrics-text")
    assert "trace_id" not in client.get("/metrics").text


async def test_message_span_continues_the_senders_trace_and_has_the_outcome(
    spans: InMemorySpanExporter,
) -> None:
    scene = Scene()
    scene.handler = [ValueError("no"), None]
    await scene.run(record(headers=[("traceparent", PARENT.encode())]))
    [span] = spans.get_finished_spans()
    assert (span.name, span.kind, error_of(span)) == (
        "process greetings",
        SpanKind.CONSUMER,
        None,
    )
    assert parent_of(span) == PARENT_ID
    assert span.attributes is not None
    assert span.attributes["outcome"] == "processed"
    assert "alice" not in texts(spans)


async def test_skipped_history_makes_no_span(spans: InMemorySpanExporter) -> None:
    await Scene().run(record(), skip_before=2_000)
    assert spans.get_finished_spans() == ()


async def test_sent_record_names_the_span_of_its_sending(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake(FakeAiokafka):
        made: list[Any] = []  # noqa: RUF012
        starts: list[Exception] = []  # noqa: RUF012
        sends: list[Exception] = []  # noqa: RUF012

    monkeypatch.setattr(producer_module, "AIOKafkaProducer", Fake)
    producer = EventProducer("nowhere:1", "test", idempotence=True, registry=CollectorRegistry())
    await producer.start()
    with use_parent(PARENT):
        await producer.send("greetings", "k", b"1", {"traceparent": PARENT, "other": "kept"})
    with use_parent(f"{PARENT[:-1]}0"):
        await producer.send("greetings", "k", b"1", {"traceparent": PARENT})
    await producer.send("greetings", "k", b"1", {"traceparent": PARENT})
    await producer.stop(timeout=0.1)
    [span] = spans.get_finished_spans()
    assert (span.name, span.kind) == ("send greetings", SpanKind.PRODUCER)
    assert parent_of(span) == PARENT_ID
    sampled, unsampled, outside = (dict(sent[3]) for sent in Fake.made[0].sent)
    assert sampled["traceparent"].decode() == f"00-{'ab' * 16}-{span.context.span_id:016x}-01"
    assert sampled["other"] == b"kept"
    assert unsampled["traceparent"].startswith(f"00-{'ab' * 16}-".encode())
    assert unsampled["traceparent"].endswith(b"-00")
    assert outside["traceparent"] == PARENT.encode()
