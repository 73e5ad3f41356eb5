from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

pytest_plugins = ["fleet.testing.fixtures"]

_exporter = InMemorySpanExporter()
_provider = TracerProvider()  # samples every trace, unless its parent is not sampled
_provider.add_span_processor(SimpleSpanProcessor(_exporter))
trace.set_tracer_provider(_provider)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Collect the spans that end during the test: `spans.get_finished_spans()`."""
    _exporter.clear()
    yield _exporter
    _exporter.clear()
