"""The access log and the latency metric of finished requests."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send
from test_web import build_app

from chassis.app.middleware import RequestMiddleware
from chassis.observability.logging import JsonFormatter

TRACE_ID = "ab" * 16


class Lines(logging.Handler):
    """Return the parsed lines of a service's log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter("things"))
        self.found: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("chassis.app.middleware")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(build_app(), raise_server_exceptions=False) as client:
        yield client


def test_request_is_logged_with_its_route_template_and_its_trace(
    client: TestClient, lines: Lines
) -> None:
    headers = {"traceparent": f"00-{TRACE_ID}-{'cd' * 8}-01"}
    client.get("/things/alice@example.com?token=secret", headers=headers)
    [line] = lines.found
    assert (line["message"], line["level"], line["service"]) == ("request", "INFO", "things")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/things/{thing_id}", 200)
    assert line["trace_id"] == TRACE_ID
    assert line["span_id"] != "cd" * 8
    assert isinstance(line["milliseconds"], float)
    assert "alice" not in str(line)
    assert "secret" not in str(line)


def test_unexpected_error_is_logged_with_its_traceback_before_its_request(
    client: TestClient, lines: Lines
) -> None:
    client.post("/things", json={"name": "crash", "price": 1})
    error, request = lines.found
    assert (error["message"], error["level"]) == ("unexpected error", "ERROR")
    assert "RuntimeError" in str(error["exception"])
    assert (request["message"], request["status"]) == ("request", 500)
    assert error["trace_id"] == request["trace_id"]


def test_health_checks_and_metric_scrapes_are_not_logged(client: TestClient, lines: Lines) -> None:
    for path in ("/health", "/health/ready", "/metrics"):
        client.get(path)
    assert lines.found == []


async def test_cancelled_request_with_an_unknown_method_has_labels_of_a_closed_set(
    lines: Lines,
) -> None:
    started = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    registry = CollectorRegistry()
    scope = {"type": "http", "method": "ALICE", "path": "/alice@example.com", "headers": []}
    request = asyncio.create_task(
        RequestMiddleware(app, registry=registry)(scope, receive, send)  # type: ignore[arg-type]
    )
    await started.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    labels = {"method": "other", "route": "unmatched", "status": "499"}
    assert registry.get_sample_value("http_request_duration_seconds_count", labels) == 1
    [line] = lines.found
    assert (line["method"], line["route"], line["status"]) == ("other", "unmatched", 499)
