"""One at a time, the urgent ones first, whoever gives up meanwhile."""

import asyncio

from app.services.priority_lock import Turns


class Scene:
    def __init__(self) -> None:
        self.turns = Turns()
        self.log: list[str] = []
        self.inside = 0
        self.go_on = asyncio.Event()

    async def take(self, name: str, *, urgent: bool) -> None:
        async with self.turns.turn(urgent=urgent):
            self.inside += 1
            assert self.inside == 1, "one at a time"
            self.log.append(name)
            await self.go_on.wait()
            self.inside -= 1

    def begin(self, name: str, *, urgent: bool) -> asyncio.Task[None]:
        return asyncio.create_task(self.take(name, urgent=urgent))


async def nothing_moves() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_urgent_come_first_and_each_queue_in_its_order() -> None:
    scene = Scene()
    tasks = [scene.begin("first", urgent=False)]
    await nothing_moves()
    for name in ("b1", "a1", "b2", "a2"):
        tasks.append(scene.begin(name, urgent=name.startswith("a")))
        await nothing_moves()
    scene.go_on.set()
    await asyncio.gather(*tasks)
    assert scene.log == ["first", "a1", "a2", "b1", "b2"]


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    scene = Scene()
    first, waiting, last = (scene.begin(name, urgent=True) for name in ("first", "gone", "last"))
    await nothing_moves()
    waiting.cancel()
    await nothing_moves()
    scene.go_on.set()
    await asyncio.gather(first, last)
    assert scene.log == ["first", "last"]


async def test_a_turn_that_comes_to_somebody_who_has_just_given_up_goes_on() -> None:
    scene = Scene()
    first, waiting, last = (scene.begin(name, urgent=True) for name in ("first", "gone", "last"))
    await nothing_moves()
    scene.go_on.set()
    first.add_done_callback(lambda _: waiting.cancel())
    await first
    await last
    assert scene.log[-1] == "last"
    async with asyncio.timeout(1), scene.turns.turn(urgent=False):
        pass


async def test_an_error_ends_a_turn() -> None:
    turns = Turns()
    for _ in range(2):
        try:
            async with turns.turn(urgent=True):
                raise ValueError
        except ValueError:
            continue
    async with asyncio.timeout(1), turns.turn(urgent=True):
        pass
