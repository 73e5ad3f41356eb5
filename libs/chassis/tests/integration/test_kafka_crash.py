"""Consumer processes that are killed or stopped while they handle messages."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from kafka_support import fresh_topics, new_producer, send_numbers, until

from chassis.kafka.producer import EventProducer

WORKER = Path(__file__).with_name("kafka_worker.py")
GROUPS = int(os.environ.get("CRASH_GROUPS", "7"))
"""Groups in each of the three processes: 21 crashed consumers by default."""
UNCOMMITTED = 20  # messages of a partition that may be handled before they are committed


class Worker:
    """Successive processes of the same consumer groups, and their effects."""

    def __init__(self, bootstrap: str, topic: str, file: Path, groups: list[str]) -> None:
        self.arguments = [bootstrap, topic, str(file), ",".join(groups)]
        self.groups = groups
        self.file = file
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *failpoint: str) -> None:
        command = [sys.executable, str(WORKER), *self.arguments, *failpoint]
        self.process = subprocess.Popen(command)

    def effects(self) -> Counter[tuple[str, int]]:
        """Count how often each group handled each number."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        pairs = (line.split() for line in lines)
        return Counter((group, int(number)) for group, number in pairs)

    def complete(self, count: int) -> bool:
        return len(self.effects()) == len(self.groups) * count

    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def clean_up(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
async def producer(kafka_bootstrap: str) -> AsyncIterator[EventProducer]:
    producer = new_producer(kafka_bootstrap)
    await producer.start()
    yield producer
    await producer.stop()


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        worker.clean_up()


async def test_no_event_is_lost_by_a_crash_at_any_point(
    kafka_bootstrap: str, producer: EventProducer, workers: list[Worker], tmp_path: Path
) -> None:
    """Promise 23: killed before the handler, after its effect or before the commit; none lost."""
    (topic,) = fresh_topics(kafka_bootstrap, "crash")
    await send_numbers(producer, topic, range(100))
    for point in ("before_handle", "after_effect", "before_commit"):
        groups = [f"{topic}-{point}-{number}" for number in range(GROUPS)]
        worker = Worker(kafka_bootstrap, topic, tmp_path / point, groups)
        workers.append(worker)
        worker.start(point, str(GROUPS * 40))
    for worker in workers:
        await until(worker.ended, 60, "killed itself")
        assert worker.process is not None
        assert worker.process.returncode == -signal.SIGKILL
        assert not worker.complete(100), "the process was killed before it had finished"
        worker.start()
    await send_numbers(producer, topic, range(100, 120))
    for worker in workers:
        await until(partial(worker.complete, 120), 60, "every event was handled")
        effects = worker.effects()
        repeated = sum(effects.values()) - len(effects)
        most = 3 * GROUPS * UNCOMMITTED  # three partitions
        assert repeated <= most, "at most the uncommitted messages are repeated"


async def test_graceful_stop_and_rebalance_under_load_repeat_no_message(
    kafka_bootstrap: str, producer: EventProducer, workers: list[Worker], tmp_path: Path
) -> None:
    """Promise 30: after SIGTERM under load messages in progress finish within 10 s; no repeats."""
    (topic,) = fresh_topics(kafka_bootstrap, "graceful")
    first, second = (Worker(kafka_bootstrap, topic, tmp_path / name, [topic]) for name in "12")
    workers += [first, second]
    first.start()
    enough = asyncio.Event()
    load = asyncio.create_task(keep_sending(producer, topic, enough))
    await until(lambda: len(first.effects()) > 100, what="under load")
    second.start()
    await until(lambda: len(second.effects()) > 100, what="the second took over partitions")
    first.signal(signal.SIGTERM)
    await until(first.ended, 10, "exit within 10 s")
    assert first.process is not None
    assert first.process.returncode == 0
    enough.set()
    sent = await load
    await until(lambda: len(first.effects() | second.effects()) == sent, 60, "all handled")
    both = first.effects() + second.effects()
    assert set(both.values()) == {1}


async def keep_sending(producer: EventProducer, topic: str, enough: asyncio.Event) -> int:
    """Send 60 messages each 0.15 s until `enough` is set; return how many were sent."""
    sent = 0
    while not enough.is_set():
        await send_numbers(producer, topic, range(sent, sent + 60), keys=60)
        sent += 60
        await asyncio.sleep(0.15)
    return sent
