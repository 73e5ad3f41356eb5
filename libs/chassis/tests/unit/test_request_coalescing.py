"""Answers that are shared: by whom, and that they are never older than the request."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from chassis.request_coalescing import BatchLoader, QueryCoalescer


class Store:
    """A store whose answers come when the test lets them; each tells how it is at that moment."""

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


async def test_one_question_for_all_who_ask_at_once(store: Store) -> None:
    coalescer = QueryCoalescer(store.ask)
    store.open.set()
    answers = await asyncio.gather(*(coalescer.get("page", 5) for _ in range(50)))
    assert set(answers) == {"page old"}
    assert store.asked == ["page"]


async def test_who_comes_later_is_told_what_was_written_before_they_came(store: Store) -> None:
    coalescer = QueryCoalescer(store.ask)
    early = begin(coalescer.get("page", 5))
    await until(lambda: store.asked)
    store.state = "new"  # somebody's edit is acknowledged, and they look at the page
    late = [begin(coalescer.get("page", 5)) for _ in range(10)]
    await settled()
    assert store.asked == ["page"]
    store.open.set()
    assert await early == "page old"
    assert set(await asyncio.gather(*late)) == {"page new"}
    assert store.asked == ["page", "page"]


async def test_different_questions_do_not_wait_for_each_other(store: Store) -> None:
    coalescer = QueryCoalescer(store.ask)
    both = [begin(coalescer.get(key, 5)) for key in ("page 1", "page 2")]
    await until(lambda: len(store.asked) == 2)
    store.open.set()
    assert await asyncio.gather(*both) == ["page 1 old", "page 2 old"]


async def test_who_goes_away_takes_nothing_from_the_others(store: Store) -> None:
    coalescer = QueryCoalescer(store.ask)
    first, second = begin(coalescer.get("page", 5)), begin(coalescer.get("page", 5))
    await until(lambda: store.asked)
    first.cancel()
    await settled()
    store.open.set()
    assert await second == "page old"


async def test_a_failure_is_everybodys_and_the_next_question_is_put_anew() -> None:
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


async def test_a_wait_is_bounded_that_for_others_included(store: Store) -> None:
    coalescer, loader = QueryCoalescer(store.ask), BatchLoader(store.ask_many, max_keys=10)
    asking = [begin(coalescer.get("page", 0.05)), begin(loader.load(["lamp"], 0.05))]
    await until(lambda: len(store.asked) == 2)
    asking += [begin(coalescer.get("page", 0.05)), begin(loader.load(["lamp"], 0.05))]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in found] == [TimeoutError] * 4


async def test_one_question_about_all_keys_that_are_waited_for(store: Store) -> None:
    loader = BatchLoader(store.ask_many, max_keys=10)
    store.open.set()
    lamp, both = await asyncio.gather(
        loader.load(["lamp"], 5), loader.load(["chair", "unknown"], 5)
    )
    assert lamp["lamp"] == "lamp old"
    assert both.get("unknown") is None
    assert store.asked == [["chair", "lamp", "unknown"]]


async def test_keys_that_come_later_are_asked_about_later(store: Store) -> None:
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


async def test_a_slow_answer_does_not_keep_everybody(store: Store) -> None:
    loader = BatchLoader(store.ask_many, max_keys=10)
    slow = begin(loader.load(["lamp"], 5))
    await until(lambda: store.asked)
    others = [begin(loader.load([key], 5)) for key in ("chair", "desk")]
    await until(lambda: len(store.asked) == 2)  # though the first is not answered
    assert not slow.done()
    assert store.asked == [["lamp"], ["chair", "desk"]]
    store.open.set()
    await asyncio.gather(slow, *others)


async def test_a_question_has_so_many_keys_at_most(store: Store) -> None:
    loader = BatchLoader(store.ask_many, max_keys=3)
    store.open.set()
    told = await asyncio.gather(
        loader.load(["a", "b"], 5),
        loader.load(["b", "c"], 5),
        loader.load(["d"], 5),
        loader.load(["e", "f", "g", "h"], 5),  # a caller with more keys
    )
    assert store.asked == [["a", "b", "c"], ["d"], ["e", "f", "g", "h"]]
    assert [sorted(each) for each in told] == [["a", "b", "c"]] * 2 + [["d"], ["e", "f", "g", "h"]]


async def test_a_failure_that_nobody_waited_for_is_not_reported(store: Store) -> None:
    reported: list[object] = []
    gc.collect()  # what other tests have left behind
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))

    async def fail(_: str) -> str:
        await store.open.wait()
        raise ConnectionError

    coalescer = QueryCoalescer(fail)
    asking = begin(coalescer.get("page", 5))
    await settled()
    asking.cancel()
    await settled()
    del asking  # which refers to the question
    store.open.set()
    await settled()
    gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert not reported
