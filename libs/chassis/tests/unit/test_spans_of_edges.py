"""The spans of requests, messages and records: their names, parents, and what they never hold."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse
from test_kafka_producer import FakeAiokafka
from test_message_processor import Scene, record
from test_web import build_app

from chassis.app.middleware import RequestMiddleware
from chassis.kafka import producer as producer_module
from chassis.kafka.producer import EventProducer
from chassis.observability.tracing import Kind, Span, continue_trace, parse_traceparent, record_to

PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(build_app(), raise_server_exceptions=False) as client:
        yield client


def tell(client: TestClient) -> None:
    """Whoever reads the metrics has every request told that is over."""
    client.get("/metrics")


def test_a_requests_span_names_the_template_and_its_caller(
    client: TestClient, spans: list[Span]
) -> None:
    client.get("/things/alice@example.com?token=secret", headers={"traceparent": PARENT})
    tell(client)
    only = spans[0]
    assert (only.name, only.kind, only.error) == ("GET /things/{thing_id}", Kind.SERVER, "")
    assert only.context.parent_id == "cd" * 8
    assert only.attributes["http.response.status_code"] == 200
    assert "alice" not in repr(spans)
    assert "secret" not in repr(spans)


def test_an_address_that_no_route_knows_gives_no_name(
    client: TestClient, spans: list[Span]
) -> None:
    client.get("/alice@example.com")
    client.request("ALICE", "/alice@example.com")
    tell(client)
    assert [one.name for one in spans] == ["GET", "other"]
    assert "alice" not in repr(spans).lower()


def test_a_failure_of_ours_marks_the_span_a_refusal_does_not(
    client: TestClient, spans: list[Span]
) -> None:
    client.post("/things", json={"name": "crash", "price": 1})
    client.post("/things", json={"name": "bad", "price": 1})
    tell(client)
    assert [one.error for one in spans] == ["RuntimeError", ""]
    assert "secret-detail" not in repr(spans)


def test_probes_and_scrapes_leave_no_spans(client: TestClient, spans: list[Span]) -> None:
    for path in ("/health", "/health/ready", "/metrics"):
        client.get(path, headers={"traceparent": PARENT})
    tell(client)
    assert spans == []


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_at_a_public_door_the_caller_does_not_decide_what_is_recorded(
    spans: list[Span], ratio: float
) -> None:
    record_to(spans.append, ratio)
    registry = CollectorRegistry()
    app = RequestMiddleware(PlainTextResponse("ok"), registry=registry, public=True)
    for flag in "01":
        TestClient(app).get("/", headers={"traceparent": PARENT[:-1] + flag})
    list(registry.collect())
    assert [one.context.trace_id for one in spans] == ["ab" * 16] * 2 * int(ratio)


def test_a_recorded_request_is_an_exemplar_for_who_accepts_openmetrics(
    client: TestClient, spans: list[Span]
) -> None:
    client.get("/things/1")
    accepted = {"accept": "application/openmetrics-text; version=1.0.0"}
    detailed = client.get("/metrics", headers=accepted)
    assert f'trace_id="{spans[0].context.trace_id}"' in detailed.text
    assert detailed.headers["content-type"].startswith("application/openmetrics-text")
    assert "trace_id" not in client.get("/metrics").text


async def test_a_messages_span_hangs_below_its_sending_and_says_what_came_of_it(
    spans: list[Span],
) -> None:
    scene = Scene()
    scene.handler = [ValueError("no"), None]
    await scene.run(record(headers=[("traceparent", PARENT.encode())]))
    only = spans[0]
    assert (only.name, only.kind, only.error) == ("process greetings", Kind.CONSUMER, "")
    assert only.context.parent_id == "cd" * 8
    assert only.attributes["outcome"] == "processed"
    assert "alice" not in repr(spans)


async def test_history_that_is_skipped_leaves_no_span(spans: list[Span]) -> None:
    await Scene().run(record(), skip_before=2_000)
    assert spans == []


async def test_a_record_names_its_own_sending_as_parent(
    spans: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake(FakeAiokafka):
        made: list[Any] = []  # noqa: RUF012
        starts: list[Exception] = []  # noqa: RUF012
        sends: list[Exception] = []  # noqa: RUF012

    monkeypatch.setattr(producer_module, "AIOKafkaProducer", Fake)
    producer = EventProducer("nowhere:1", "test", idempotence=True, registry=CollectorRegistry())
    await producer.start()
    with continue_trace(PARENT):
        await producer.send("greetings", "k", b"1", {"traceparent": PARENT, "other": "kept"})
    with continue_trace(PARENT[:-1] + "0"):
        await producer.send("greetings", "k", b"1", {"traceparent": PARENT})
    await producer.stop(timeout=0.1)
    only = spans[0]
    assert (only.name, only.kind) == ("send greetings", Kind.PRODUCER)
    first, second = (dict(sent[3]) for sent in Fake.made[0].sent)
    sent = parse_traceparent(first["traceparent"].decode())
    assert sent is not None
    assert sent.span_id == only.context.span_id
    assert first["other"] == b"kept"
    assert second["traceparent"] == PARENT.encode(), "unrecorded: the header stays as it came"
