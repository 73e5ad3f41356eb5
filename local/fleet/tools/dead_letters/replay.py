"""Sends dead letters again, and writes down for each that it is done.

One after another: send, wait for the acknowledgement, write it down, wait for that too. Whoever
dies in between, or whose acknowledgement is lost, leaves one letter, the last, that was sent and is
still open; sent once more it does no harm, because its event keeps its id and its group's effects
are single. Two of these commands at once may send each letter twice, with as little harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

from aiokafka import AIOKafkaProducer

from fleet.clients.topic_reader import BrokerAway, broker_errors, hang_up, topic_reader
from fleet.errors import FleetError
from fleet.terminal import complain, say
from fleet.tools.dead_letters.done import DROPPED, REPLAYED, record_of
from fleet.tools.dead_letters.letter import Address, Letter
from fleet.topics import DEAD_LETTERS_DONE

_TELL = 5.0  # seconds between two lines of progress

Send = Callable[..., Awaitable[object]]


async def replay(bootstrap: str, topic: str, chosen: Mapping[Address, str], rate: float) -> None:
    """Send each chosen letter of a topic to its group, ``rate`` a second at most."""
    pace = _Pace("replayed", len(chosen), rate)
    with pace.interrupted():
        async with topic_reader(bootstrap) as reader, _sender(bootstrap) as send:
            # All of them, not what lies between the first and the last: the plan has read as much.
            spans = await reader.spans({topic: 1 + max(a.partition for a in chosen)})
            async for record in reader.records(spans):
                letter = Letter.of(record)
                to = chosen.get(letter.address)
                if to is None:
                    continue
                await pace.wait()
                headers = letter.replay_headers(to)
                await send(letter.topic, letter.value, letter.key, headers=headers)
                await _close(send, letter.address, REPLAYED, to)
                pace.count()
    say(
        f"Replayed {pace.done:,}. Each is handled once its group comes to it; what fails again"
        " becomes a new dead letter."
    )


async def drop(bootstrap: str, chosen: Mapping[Address, str]) -> None:
    """Write down that these are done."""
    pace = _Pace("dropped", len(chosen), rate=float("inf"))
    with pace.interrupted():
        async with _sender(bootstrap) as send:
            for address in chosen:
                await _close(send, address, DROPPED)
                pace.count()
    say(f"Dropped {pace.done:,}.")


async def _close(send: Send, address: Address, state: str, to: str = "") -> None:
    key, value = record_of(address, state, to)
    await send(DEAD_LETTERS_DONE, value, key)


@contextlib.asynccontextmanager
async def _sender(bootstrap: str) -> AsyncIterator[Send]:
    """A function that sends one record and returns when every replica has acknowledged it."""
    async with broker_errors(bootstrap):
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", request_timeout_ms=10_000
        )
        try:
            await producer.start()
            yield producer.send_and_wait
        finally:
            await hang_up(producer.stop())


class _Pace:
    """How many are done, not too fast, told now and then."""

    def __init__(self, verb: str, total: int, rate: float) -> None:
        """``rate``: a second."""
        self.done = 0
        self._verb, self._total, self._rate = verb, total, rate
        self._began = self._told = self._due = time.monotonic()

    async def wait(self) -> None:
        """Until the next one is due; what took longer is not caught up with in a burst."""
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due, time.monotonic()) + 1 / self._rate

    def count(self) -> None:
        self.done += 1
        if time.monotonic() - self._told > _TELL:
            self._told = time.monotonic()
            left = (self._total - self.done) * (self._told - self._began) / self.done
            say(f"  {self.done:,} of {self._total:,} {self._verb}, {left:.0f} s to go")

    @contextlib.contextmanager
    def interrupted(self) -> Iterator[None]:
        """Whatever ends it early: say how far it came, and that it goes on from there."""
        so_far = (
            "{0.done:,} of {0._total:,} are {0._verb} and written down; the same command goes on."
        )
        try:
            yield
        except asyncio.CancelledError:
            complain(so_far.format(self))
            raise
        except BrokerAway as error:
            raise FleetError(f"{error} {so_far.format(self)}") from error
