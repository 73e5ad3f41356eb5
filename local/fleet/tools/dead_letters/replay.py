"""Replay or drop dead letters and store the outcome of each.

For each dead letter in turn: send it, wait for the acknowledgement, store the outcome, wait for
that acknowledgement. A crash or a lost acknowledgement leaves at most one dead letter that was sent
and is still open. Sending it again is harmless, because the event keeps its id and its consumer
deduplicates by that id. The same holds for two concurrent commands.
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
from fleet.tools.dead_letters.dead_letter import Address, DeadLetter
from fleet.tools.dead_letters.outcomes import DROPPED, REPLAYED, outcome_record
from fleet.topics import DEAD_LETTERS_DONE

_PROGRESS_SECONDS = 5.0

Send = Callable[..., Awaitable[object]]


async def replay(bootstrap: str, topic: str, chosen: Mapping[Address, str], rate: float) -> None:
    """Send each selected dead letter to its group, at most ``rate`` per second."""
    pace = _Pace("replayed", len(chosen), rate)
    with pace.interrupted():
        async with topic_reader(bootstrap) as reader, _sender(bootstrap) as send:
            # Read the whole topic, as the plan did.
            spans = await reader.spans({topic: 1 + max(a.partition for a in chosen)})
            async for record in reader.records(spans):
                letter = DeadLetter.from_record(record)
                to = chosen.get(letter.address)
                if to is None:
                    continue
                await pace.wait()
                headers = letter.replay_headers(to)
                await send(letter.topic, letter.value, letter.key, headers=headers)
                await _close(send, letter.address, REPLAYED, to)
                pace.count()
    say(
        f"Replayed {pace.done:,}. Their consumer groups process them now; a message that fails"
        " again becomes a new dead letter."
    )


async def drop(bootstrap: str, chosen: Mapping[Address, str]) -> None:
    """Store the outcome ``dropped`` for these dead letters."""
    pace = _Pace("dropped", len(chosen), rate=float("inf"))
    with pace.interrupted():
        async with _sender(bootstrap) as send:
            for address in chosen:
                await _close(send, address, DROPPED)
                pace.count()
    say(f"Dropped {pace.done:,}.")


async def _close(send: Send, address: Address, state: str, to: str = "") -> None:
    key, value = outcome_record(address, state, to)
    await send(DEAD_LETTERS_DONE, value, key)


@contextlib.asynccontextmanager
async def _sender(bootstrap: str) -> AsyncIterator[Send]:
    """Yield a function that sends a record and waits for the acknowledgement of all replicas."""
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
    """Rate limit and progress report."""

    def __init__(self, verb: str, total: int, rate: float) -> None:
        """``rate`` is per second."""
        self.done = 0
        self._verb, self._total, self._rate = verb, total, rate
        self._began = self._reported = self._due = time.monotonic()

    async def wait(self) -> None:
        """Wait until the next send is due. A delay is not followed by a burst."""
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due, time.monotonic()) + 1 / self._rate

    def count(self) -> None:
        self.done += 1
        if time.monotonic() - self._reported > _PROGRESS_SECONDS:
            self._reported = time.monotonic()
            left = (self._total - self.done) * (self._reported - self._began) / self.done
            say(f"  {self.done:,} of {self._total:,} {self._verb}, {left:.0f} s to go")

    @contextlib.contextmanager
    def interrupted(self) -> Iterator[None]:
        """On Ctrl-C or a broker failure, print the progress and how to continue."""
        try:
            yield
        except asyncio.CancelledError:
            complain(self._progress())
            raise
        except BrokerAway as error:
            raise FleetError(f"{error} {self._progress()}") from error

    def _progress(self) -> str:
        return (
            f"{self.done:,} of {self._total:,} are {self._verb}."
            " Run the same command again to continue."
        )
