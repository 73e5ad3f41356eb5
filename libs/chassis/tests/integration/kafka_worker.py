"""A process with consumers of several groups, for tests that kill or stop it.

    python kafka_worker.py BOOTSTRAP TOPIC FILE GROUPS [FAILPOINT COUNT]

Each effect is a line "group number" appended to FILE in one write, so it survives SIGKILL. With a
failpoint (before_handle, after_effect, before_commit) the process kills itself when any group
reaches it for the COUNT-th time.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from kafka_support import HappenedAsRead, new_consumer, new_producer

from chassis.kafka.batches import Record
from chassis.kafka.consumer import EventConsumer
from chassis.kafka.message_processor import PartitionWorker


class Failpoint:
    def __init__(self, name: str = "", count: str = "0") -> None:
        self.name = name
        self.left = int(count)

    def passed(self, name: str) -> None:
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def handler(
    group: str, file: int, failpoint: Failpoint
) -> Callable[[HappenedAsRead], Awaitable[None]]:
    async def handle(event: HappenedAsRead) -> None:
        failpoint.passed("before_handle")
        await asyncio.sleep(0.001)
        os.write(file, f"{group} {event.number}\n".encode())
        failpoint.passed("after_effect")

    return handle


def fail_before_commit(failpoint: Failpoint) -> None:
    finish = PartitionWorker.finish

    async def watched(self: PartitionWorker, record: Record) -> None:
        failpoint.passed("before_commit")
        await finish(self, record)

    PartitionWorker.finish = watched  # type: ignore[method-assign]


async def main(bootstrap: str, topic: str, path: str, groups: str, *failure: str) -> None:
    failpoint = Failpoint(*failure)
    fail_before_commit(failpoint)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    producer = new_producer(bootstrap)
    await producer.start()
    consumers: list[EventConsumer] = []
    for group in groups.split(","):
        handlers = {topic: handler(group, file, failpoint)}
        consumers.append(new_consumer(bootstrap, group, handlers, producer))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    for consumer in consumers:
        consumer.start()
    await stop.wait()
    await asyncio.gather(*(consumer.stop() for consumer in consumers))
    await producer.stop()


if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("WORKER_LOG", "CRITICAL"))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
