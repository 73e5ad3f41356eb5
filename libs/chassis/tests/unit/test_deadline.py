"""Deadlines with a fake clock."""

import asyncio
import time

import pytest

from chassis.http_client.deadline import Deadline


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_remaining_time_counts_down_to_zero() -> None:
    clock = Clock()
    deadline = Deadline.after(3, clock)
    assert deadline.remaining() == 3
    clock.now += 2.5
    assert deadline.remaining() == 0.5
    assert not deadline.expired
    clock.now += 2.5
    assert deadline.remaining() == 0
    assert deadline.expired


def test_earlier_of_two_deadlines_applies() -> None:
    clock = Clock()
    deadline = Deadline.after(3, clock)
    assert deadline.sooner_of(1).remaining() == 1
    assert deadline.sooner_of(9).remaining() == 3


async def test_block_is_not_entered_after_the_deadline() -> None:
    entered = False
    with pytest.raises(TimeoutError):
        async with Deadline.after(-1).enforce():
            entered = True
    assert not entered


async def test_hanging_block_is_cancelled_at_the_deadline() -> None:
    """Promise 31: the total time is bounded."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Deadline.after(0.1).enforce():
            await asyncio.Event().wait()
    assert 0.09 < time.monotonic() - began < 0.2


async def test_cancellation_of_a_block_is_not_a_timeout() -> None:
    async def block() -> None:
        async with Deadline.after(60).enforce():
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
