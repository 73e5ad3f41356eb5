"""PriorityLock: one holder at a time, urgent waiters first, cancelled waiters skipped."""

import asyncio

from app.services.priority_lock import PriorityLock


class Scene:
    def __init__(self) -> None:
        self.lock = PriorityLock()
        self.log: list[str] = []
        self.inside = 0
        self.release = asyncio.Event()

    async def acquire(self, name: str, *, urgent: bool) -> None:
        async with self.lock.hold(urgent=urgent):
            self.inside += 1
            assert self.inside == 1, "one at a time"
            self.log.append(name)
            await self.release.wait()
            self.inside -= 1

    def begin(self, name: str, *, urgent: bool) -> asyncio.Task[None]:
        return asyncio.create_task(self.acquire(name, urgent=urgent))


async def let_tasks_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_urgent_waiters_come_first_and_each_queue_keeps_its_order() -> None:
    scene = Scene()
    tasks = [scene.begin("first", urgent=False)]
    await let_tasks_run()
    for name in ("b1", "a1", "b2", "a2"):
        tasks.append(scene.begin(name, urgent=name.startswith("a")))
        await let_tasks_run()
    scene.release.set()
    await asyncio.gather(*tasks)
    assert scene.log == ["first", "a1", "a2", "b1", "b2"]


async def test_cancelled_waiter_does_not_block_the_next() -> None:
    scene = Scene()
    first, waiting, last = (scene.begin(name, urgent=True) for name in ("first", "gone", "last"))
    await let_tasks_run()
    waiting.cancel()
    await let_tasks_run()
    scene.release.set()
    await asyncio.gather(first, last)
    assert scene.log == ["first", "last"]


async def test_lock_passed_to_a_waiter_that_is_cancelled_goes_to_the_next() -> None:
    scene = Scene()
    first, waiting, last = (scene.begin(name, urgent=True) for name in ("first", "gone", "last"))
    await let_tasks_run()
    scene.release.set()
    first.add_done_callback(lambda _: waiting.cancel())
    await first
    await last
    assert scene.log[-1] == "last"
    async with asyncio.timeout(1), scene.lock.hold(urgent=False):
        pass


async def test_error_in_the_block_releases_the_lock() -> None:
    lock = PriorityLock()
    for _ in range(2):
        try:
            async with lock.hold(urgent=True):
                raise ValueError
        except ValueError:
            continue
    async with asyncio.timeout(1), lock.hold(urgent=True):
        pass
