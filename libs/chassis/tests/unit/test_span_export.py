"""The list and the thread between who records spans and the collector."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from chassis.observability import telemetry
from chassis.observability.telemetry import QUEUE, SpanExport, exported_spans
from chassis.observability.tracing import Kind, Span, TraceContext, is_recording
from chassis.settings import ServiceSettings

ONE = Span(TraceContext("ab" * 16, "cd" * 8), "work", Kind.INTERNAL, 1, 2, {}, "")


class Bench:
    """An export whose collector does as told, and its figures."""

    def __init__(
        self, answer: Callable[[Sequence[Span]], bool], retry_max_seconds: float = 30.0
    ) -> None:
        self.sent: list[int] = []
        self._answer = answer
        self.registry = CollectorRegistry()
        self.export = SpanExport(lambda: self._send, self.registry, retry_max_seconds)

    def _send(self, spans: Sequence[Span]) -> bool:
        self.sent.append(len(spans))
        return self._answer(spans)

    def dropped(self, reason: str) -> float:
        return self.registry.get_sample_value("spans_dropped_total", {"reason": reason}) or 0.0

    @property
    def exported(self) -> float:
        return self.registry.get_sample_value("spans_exported_total") or 0.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_INTERVAL", 0.01)


@asynccontextmanager
async def started(bench: Bench) -> AsyncIterator[Bench]:
    bench.export.start()
    yield bench
    await bench.export.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_spans_leave_in_batches_and_the_last_ones_at_the_end() -> None:
    async with started(Bench(lambda _: True)) as bench:
        for _ in range(1_000):
            bench.export.take(ONE)
        await until(lambda: bench.exported == 1_000)
        bench.export.take(ONE)
    assert bench.exported == 1_001
    assert max(bench.sent) <= 512
    assert len(bench.sent) < 100


async def test_what_a_hanging_collector_leaves_lying_is_bounded_and_counted() -> None:
    forever = threading.Event()
    async with started(Bench(lambda _: forever.wait())) as bench:
        bench.export.take(ONE)
        await until(lambda: bool(bench.sent))
        for _ in range(QUEUE + 100):
            bench.export.take(ONE)
        assert bench.dropped("queue_full") == 100
        began = time.monotonic()
        await bench.export.stop()
        assert time.monotonic() - began < 1.0, "the end of a process does not wait for a collector"
        forever.set()


async def test_a_collector_that_is_away_is_asked_seldom_and_costs_its_batch() -> None:
    async with started(Bench(lambda _: False)) as bench:
        bench.export.take(ONE)
        await until(lambda: bench.dropped("not_sent") == 1)
        for _ in range(600):
            bench.export.take(ONE)
        await asyncio.sleep(0.1)  # ten intervals, in which nothing may be tried
        assert bench.sent == [1]
        began = time.monotonic()
        await bench.export.stop()
        assert time.monotonic() - began < 0.3


async def test_a_collector_that_comes_back_is_served_again() -> None:
    answers = iter([False, False])
    async with started(Bench(lambda _: next(answers, True), retry_max_seconds=0.05)) as bench:
        for number in (1, 2, 3):
            bench.export.take(ONE)
            await until(lambda number=number: len(bench.sent) == number)  # type: ignore[misc]
        await until(lambda: bench.exported == 1)
        assert bench.dropped("not_sent") == 2


async def test_a_sender_that_breaks_ends_neither_the_thread_nor_the_process() -> None:
    def break_(_: Sequence[Span]) -> bool:
        raise RuntimeError

    async with started(Bench(break_)) as bench:
        bench.export.take(ONE)
        await until(lambda: bench.dropped("not_sent") == 1)


@pytest.mark.parametrize(
    "settings",
    [
        ServiceSettings(service_name="x"),
        ServiceSettings(
            service_name="x",
            otel_exporter_otlp_endpoint="http://127.0.0.1:1",
            otel_sdk_disabled=True,
        ),
    ],
)
async def test_without_a_collector_there_is_no_thread(settings: ServiceSettings) -> None:
    before = threading.active_count()
    async with exported_spans(settings, CollectorRegistry()):
        assert threading.active_count() == before
        assert not is_recording()
