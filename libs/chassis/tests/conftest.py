from collections.abc import Iterator

import pytest

from chassis.observability.tracing import Span, record_to

pytest_plugins = ["fleet.testing.fixtures"]


@pytest.fixture
def spans() -> Iterator[list[Span]]:
    """What the process records, every trace of it, from here to the end of the test."""
    found: list[Span] = []
    record_to(found.append)
    yield found
    record_to(None)
