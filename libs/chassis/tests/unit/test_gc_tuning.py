"""Tuning of the garbage collector; each test restores the process's settings."""

import gc
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from chassis.app.gc_tuning import tune_garbage_collection
from chassis.app.middleware import RequestMiddleware


class Node:
    """An object with a reference to itself."""

    def __init__(self, gone: list[str]) -> None:
        self._gone = gone
        self.itself = self

    def __del__(self) -> None:
        self._gone.append("node")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_objects_of_the_start_are_frozen_and_later_ones_collected() -> None:
    gone: list[str] = []
    kept = Node(gone)
    tune_garbage_collection()
    assert gc.get_freeze_count() > 1_000
    del kept
    Node(gone)
    gc.collect()
    assert gone == ["node"]  # only the later object
    gc.unfreeze()
    gc.collect()
    assert gone == ["node", "node"]


async def test_collector_is_tuned_when_the_start_is_complete() -> None:
    sent: list[str] = []
    before = gc.get_freeze_count()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed"})
        assert gc.get_freeze_count() == before
        await send({"type": "lifespan.startup.complete"})

    async def receive() -> Message:
        raise AssertionError("the app receives nothing")

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await RequestMiddleware(app, registry=CollectorRegistry())({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.failed", "lifespan.startup.complete"]
    assert gc.get_freeze_count() > before


def test_few_thousand_objects_start_no_collection() -> None:
    tune_garbage_collection()
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
