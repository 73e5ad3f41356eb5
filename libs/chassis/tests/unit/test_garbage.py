"""The collector's settings, which are the process's: put back at the end."""

import gc
from collections.abc import Iterator

import pytest

from chassis.garbage import collect_rarely


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
