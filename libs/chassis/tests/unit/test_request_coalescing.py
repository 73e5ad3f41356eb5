"""Coalesced queries and batches: a result is never older than the request that receives it."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from chassis.request_coalescing import BatchLoader, QueryCoalescer


class Store:
    """A store that reads its state when a query arrives and replies once `open` is set."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.state = "old"
        self.open = asyncio.Event()

    async def ask(self, key: str) -> str:
        self.asked.append(key)
        found = f"{key} {self.state}"
        await self.open.wait()
        return found

    async def ask_many(self, keys: set[str]) -> dict[str, str]:
        self.asked.append(sorted(keys))
        found = {key: f"{key} {self.state}" for key in keys if key != "unknown"}
        await self.open.wait()
        return found


@pytest.fixture
def store() -> Store:
    return Store()


def begin(one: Awaitable[object]) -> asyncio.Future[object]:
    return asyncio.ensure_future(one)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_concurrent_requests_share_one_query(store: Store) -> None:
    coalescer = QueryCoalescer(store.ask)
    store.open.set()
    answers = await asyncio.gather(*(coalescer.get("page", 5) for _ in range(50)))
    assert set(answers) == {"page old"}
    assert store.asked == ["page"]


async def test_late_request_sees_a_write_before_it(store: Store) -> None:
    coalescer = QueryCoalescer(store.ask)
    early = begin(coalescer.get("page", 5))
    await until(lambda: store.asked)
    store.state = "new"  # an edit is acknowledged before the late requests
    late = [begin(coalescer.get("page", 5)) for _ in range(10)]
    await settled()
    assert store.asked == ["page"]
    store.open.set()
    assert await early == "page old"
    assert set(await asyncio.gather(*late)) == {"page new"}
    assert store.asked == ["page", "page"]


async def test_different_keys_do_not_wait_for_each_other(store: Store) -> None:
    coalescer = QueryCoalescer(store.ask)
    both = [begin(coalescer.get(key, 5)) for key in ("page 1", "page 2")]
    await until(lambda: len(store.asked) == 2)
    store.open.set()
    assert await asyncio.gather(*both) == ["page 1 old", "page 2 old"]


async def test_cancelled_request_does_not_cancel_the_shared_query(store: Store) -> None:
    coalescer = QueryCoalescer(store.ask)
    first, second = begin(coalescer.get("page", 5)), begin(coalescer.get("page", 5))
    await until(lambda: store.asked)
    first.cancel()
    await settled()
    store.open.set()
    assert await second == "page old"


async def test_failure_is_shared_and_not_cached() -> None:
    away = True

    async def ask(_: str) -> str:
        if away:
            raise ConnectionError
        return "there"

    coalescer = QueryCoalescer(ask)
    failed = await asyncio.gather(
        *(coalescer.get("page", 5) for _ in range(3)), return_exceptions=True
    )
    assert [type(each) for each in failed] == [ConnectionError] * 3
    away = False
    assert await coalescer.get("page", 5) == "there"


async def test_timeout_includes_the_wait_for_a_running_query(store: Store) -> None:
    coalescer, loader = QueryCoalescer(store.ask), BatchLoader(store.ask_many, max_keys=10)
    asking = [begin(coalescer.get("page", 0.05)), begin(loader.load(["lamp"], 0.05))]
    await until(lambda: len(store.asked) == 2)
    asking += [begin(coalescer.get("page", 0.05)), begin(loader.load(["lamp"], 0.05))]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in found] == [TimeoutError] * 4


async def test_concurrent_keys_share_one_batch(store: Store) -> None:
    loader = BatchLoader(store.ask_many, max_keys=10)
    store.open.set()
    lamp, both = await asyncio.gather(
        loader.load(["lamp"], 5), loader.load(["chair", "unknown"], 5)
    )
    assert lamp["lamp"] == "lamp old"
    assert both.get("unknown") is None
    assert store.asked == [["chair", "lamp", "unknown"]]


async def test_late_keys_are_loaded_in_a_later_batch(store: Store) -> None:
    loader = BatchLoader(store.ask_many, max_keys=10)
    early = begin(loader.load(["lamp"], 5))
    await until(lambda: store.asked)
    store.state = "new"
    late = [begin(loader.load([key], 5)) for key in ("lamp", "chair")]
    await settled()
    assert store.asked == [["lamp"]]
    store.open.set()
    assert await early == {"lamp": "lamp old"}
    assert await asyncio.gather(*late) == [{"lamp": "lamp new", "chair": "chair new"}] * 2
    assert store.asked == [["lamp"], ["chair", "lamp"]]


async def test_slow_batch_does_not_block_later_batches(store: Store) -> None:
    loader = BatchLoader(store.ask_many, max_keys=10)
    slow = begin(loader.load(["lamp"], 5))
    await until(lambda: store.asked)
    others = [begin(loader.load([key], 5)) for key in ("chair", "desk")]
    await until(lambda: len(store.asked) == 2)  # while the first has no result
    assert not slow.done()
    assert store.asked == [["lamp"], ["chair", "desk"]]
    store.open.set()
    await asyncio.gather(slow, *others)


async def test_batch_has_at_most_max_keys(store: Store) -> None:
    loader = BatchLoader(store.ask_many, max_keys=3)
    store.open.set()
    told = await asyncio.gather(
        loader.load(["a", "b"], 5),
        loader.load(["b", "c"], 5),
        loader.load(["d"], 5),
        loader.load(["e", "f", "g", "h"], 5),  # more keys than the limit
    )
    assert store.asked == [["a", "b", "c"], ["d"], ["e", "f", "g", "h"]]
    assert [sorted(each) for each in told] == [["a", "b", "c"]] * 2 + [["d"], ["e", "f", "g", "h"]]


async def test_failure_without_waiting_callers_is_not_reported(store: Store) -> None:
    reported: list[object] = []
    gc.collect()  # objects of other tests
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))

    async def fail(_: str) -> str:
        await store.open.wait()
        raise ConnectionError

    coalescer = QueryCoalescer(fail)
    asking = begin(coalescer.get("page", 5))
    await settled()
    asking.cancel()
    await settled()
    del asking  # it refers to the query
    store.open.set()
    await settled()
    gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert not reported
