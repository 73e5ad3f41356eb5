"""When a replica counts as having caught up with mail-sent; step by step, on a fake consumer."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from app.config import Settings
from app.kafka.delivery_log import DeliveryLogTopic
from chassis.kafka.producer import EventProducer


class FakeFollower:
    """aiokafka's consumer of two partitions, as far as catching up looks at it."""

    def __init__(self) -> None:
        self.answered: dict[str, int | None] = {"p0": None, "p1": None}
        self.highwaters = {"p0": 10, "p1": 5}
        self.positions = {"p0": 0, "p1": 5}

    def assignment(self) -> set[str]:
        return set(self.answered)

    def last_poll_timestamp(self, partition: str) -> int | None:
        return self.answered[partition]

    def highwater(self, partition: str) -> int | None:
        return self.highwaters[partition]

    async def position(self, partition: str) -> int:
        return self.positions[partition]

    def answer(self, *partitions: str) -> None:
        for partition in partitions:
            self.answered[partition] = (self.answered[partition] or 0) + 1


class Scene:
    def __init__(self) -> None:
        registry = CollectorRegistry()
        producer = EventProducer("nowhere:1", "test", idempotence=False, registry=registry)
        self.topic = DeliveryLogTopic(Settings(), producer, registry)
        self.follower = FakeFollower()
        self.catching_up = asyncio.create_task(self.topic.catch_up())

    async def done(self) -> bool:
        """After time enough to look around once or twice."""
        await asyncio.wait({self.catching_up}, timeout=0.1)
        return self.catching_up.done()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.catching_up.cancel()


async def test_it_waits_for_a_broker_then_for_two_answers_then_for_the_high_watermark(
    scene: Scene,
) -> None:
    follower = scene.follower
    assert not await scene.done(), "no broker yet"
    scene.topic._consumer = follower
    assert not await scene.done(), "no answer yet"
    follower.answer("p0", "p1")
    assert not await scene.done(), "that answer may belong to an older question"
    follower.answer("p0")
    assert not await scene.done(), "one partition is still silent"
    follower.answer("p1")
    assert not await scene.done(), "p0 is read to 0 of 10"
    follower.positions["p0"] = 9
    assert not await scene.done()
    follower.positions["p0"] = 10
    assert await scene.done()


async def test_it_begins_anew_with_a_new_connection(scene: Scene) -> None:
    scene.topic._consumer = scene.follower
    scene.follower.answer("p0", "p1")
    scene.topic._consumer = None
    assert not await scene.done()
    scene.topic._consumer = again = FakeFollower()
    again.positions["p0"] = 10
    for _ in range(2):
        assert not await scene.done()
        again.answer("p0", "p1")
    assert await scene.done()
