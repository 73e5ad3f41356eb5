"""The collector's settings, which are the process's: put back at the end."""

import gc
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from chassis.app.gc_tuning import collect_rarely
from chassis.app.middleware import RequestMiddleware


class Node:
    """Something that refers to itself."""

    def __init__(self, gone: list[str]) -> None:
        self._gone = gone
        self.itself = self

    def __del__(self) -> None:
        self._gone.append("node")


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_there_is_looked_at_no_more_and_what_comes_is_collected_in_the_end() -> None:
    gone: list[str] = []
    kept = Node(gone)
    collect_rarely()
    assert gc.get_freeze_count() > 1_000
    del kept
    Node(gone)
    gc.collect()
    assert gone == ["node"]  # the one that came later
    gc.unfreeze()
    gc.collect()
    assert gone == ["node", "node"]


async def test_a_service_is_set_when_its_start_is_complete_and_not_before() -> None:
    said: list[str] = []
    before = gc.get_freeze_count()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed"})
        assert gc.get_freeze_count() == before
        await send({"type": "lifespan.startup.complete"})

    async def receive() -> Message:
        raise AssertionError("nothing is asked for")

    async def send(message: Message) -> None:
        said.append(message["type"])

    await RequestMiddleware(app, registry=CollectorRegistry())({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.failed", "lifespan.startup.complete"]
    assert gc.get_freeze_count() > before


def test_a_few_thousand_objects_begin_no_collection() -> None:
    collect_rarely()
    counts = []
    gc.callbacks.append(lambda phase, _: counts.append(phase))
    try:
        few = [[number] for number in range(5_000)]
        assert not counts
        many = [[number] for number in range(20_000)]
        assert counts
    finally:
        gc.callbacks.pop()
    assert (len(few), len(many)) == (5_000, 20_000)
