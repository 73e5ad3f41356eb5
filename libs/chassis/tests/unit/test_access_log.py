"""What is told of requests that are over: a moment later, together, and none forgotten."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from test_web import build_app

from chassis.observability.access_log import Exchange, RequestLog
from chassis.observability.logging import JsonFormatter
from chassis.observability.tracing import Span, TraceContext, continue_trace


class Lines(logging.Handler):
    """The lines of a service's log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter("things"))
        self.found: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("chassis.observability.access_log")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def exchange(number: int = 1, method: str = "GET") -> Exchange:
    trace = TraceContext(f"{number:032x}", f"{number:016x}")
    made = Exchange(method, trace, time.perf_counter_ns(), status=200)
    made.end("/things/{thing_id}")
    return made


def counted(registry: CollectorRegistry, method: str = "GET", status: str = "200") -> float | None:
    labels = {"method": method, "route": "/things/{thing_id}", "status": status}
    return registry.get_sample_value("http_request_duration_seconds_count", labels)


async def until_there_are(count: int, lines: Lines) -> None:
    async with asyncio.timeout(5):
        while len(lines.found) < count:
            await asyncio.sleep(0.01)


async def test_requests_are_told_together_in_their_order(lines: Lines, spans: list[Span]) -> None:
    told = RequestLog(CollectorRegistry())
    for number in (1, 2, 3):
        told.add(exchange(number))
    await asyncio.sleep(0)
    assert lines.found == []
    await until_there_are(1, lines)
    assert [int(str(line["trace_id"]), 16) for line in lines.found] == [1, 2, 3]
    assert [int(span.context.trace_id, 16) for span in spans] == [1, 2, 3]


async def test_many_are_told_at_once_in_batches(lines: Lines) -> None:
    told = RequestLog(CollectorRegistry())
    for number in range(200):
        told.add(exchange(number))
    assert len(lines.found) == 192
    await until_there_are(200, lines)
    assert [int(str(line["trace_id"]), 16) for line in lines.found] == list(range(200))


async def test_a_line_is_of_its_request_not_of_when_and_where_it_is_told(
    lines: Lines, spans: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.observability.access_log._SECONDS", 0.3)
    told = RequestLog(CollectorRegistry())
    over = exchange()
    with continue_trace(f"00-{'ab' * 16}-{'cd' * 8}-01"):
        told.add(over)
    await until_there_are(1, lines)
    only = lines.found[0]
    assert (only["trace_id"], only["span_id"]) == (over.trace.trace_id, over.trace.span_id)
    assert (only["method"], only["route"], only["status"]) == ("GET", "/things/{thing_id}", 200)
    said = datetime.fromisoformat(str(only["timestamp"])).timestamp()
    assert said == pytest.approx(over.ended / 1e9, abs=0.001)
    assert spans[0].ended == over.ended
    assert time.time_ns() - over.ended > 0.3e9


async def test_whoever_reads_the_metrics_has_all_that_is_over(lines: Lines) -> None:
    registry = CollectorRegistry()
    told = RequestLog(registry)
    told.add(exchange())
    assert counted(registry) == 1
    assert len(lines.found) == 1
    assert counted(registry) == 1, "told once"


async def test_one_that_was_given_up_and_a_strange_method_have_labels_of_a_closed_set() -> None:
    registry = CollectorRegistry()
    gone = Exchange("ALICE", TraceContext("1" * 32, "1" * 16), time.perf_counter_ns())
    gone.end("/things/{thing_id}")
    RequestLog(registry).add(gone)
    assert counted(registry, "other", "499") == 1


def test_none_is_forgotten_at_the_end_of_the_process(lines: Lines) -> None:
    with TestClient(build_app()) as client:
        client.get("/things/1")
    assert [line["route"] for line in lines.found] == ["/things/{thing_id}"]


def test_none_is_forgotten_with_a_loop_that_ends_before(lines: Lines) -> None:
    told = RequestLog(CollectorRegistry())

    async def add(number: int, wait: float) -> None:
        told.add(exchange(number))
        await asyncio.sleep(wait)

    asyncio.run(add(1, 0))
    assert lines.found == []
    asyncio.run(add(2, 0.3))
    assert [int(str(line["trace_id"]), 16) for line in lines.found] == [1, 2]


def test_probes_and_scrapes_are_not_logged(lines: Lines) -> None:
    with TestClient(build_app()) as client:
        for path in ("/health", "/health/ready", "/metrics"):
            client.get(path)
    assert lines.found == []
