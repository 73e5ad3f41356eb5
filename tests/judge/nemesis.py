"""Inject the planned faults at their time, repair them, and record when each was active."""

import asyncio
import json
import secrets
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.judge.plan import MAIL_FAULTS, Fault, Planned
from tests.judge.target import Target


@dataclass(slots=True)
class Done:
    """An injected fault.

    Attributes:
        started, ended: seconds since the start of the run; at `ended` the part was repaired.
        hit: how often it had an effect, such as a crash at the failpoint or a dropped reply.
    """

    planned: Planned
    started: float
    ended: float = 0.0
    hit: int = 1
    error: str = ""


@dataclass(slots=True)
class Nemesis:
    """Execute a plan.

    Attributes:
        poison: invalid messages that it has published.
        refuses_content: the mailbox refused mails with the marker word for some time.
    """

    target: Target
    now: Callable[[], float]
    done: list[Done] = field(default_factory=list)
    poison: list[bytes] = field(default_factory=list)

    @property
    def refuses_content(self) -> bool:
        return any(done.planned.detail == "content-refused" for done in self.done)

    async def execute(self, plan: Sequence[Planned]) -> None:
        """Execute the whole plan. Return when the last fault has ended."""
        async with asyncio.TaskGroup() as group:
            for planned in plan:
                await asyncio.sleep(max(0.0, planned.at - self.now()))
                group.create_task(self._run_one(planned))

    @property
    def smtp_windows(self) -> int:
        """Return how many mails may be duplicates (docs/order-flow.md).

        One mail is in progress at a time. A fault of notification-service or the mailbox explains
        one duplicate, and so does each lost reply of the mailbox or its link. Other scripted faults
        of the mailbox explain none, because a refused mail was not delivered. A fault of Kafka
        explains one if another replica takes over a mail that was sent but not recorded.
        """
        several = any(part.endswith("-2") for part in self.target.surface.killed)
        count = 0
        for done in self.done:
            fault, part = done.planned.fault, done.planned.part
            if fault is Fault.MAIL and done.planned.detail != "lost-reply":
                continue
            at_risk = part.startswith("notification-service") or (part == "kafka" and several)
            if at_risk or (part == "mailbox" and fault is not Fault.SLOW):
                count += done.hit
        return count

    async def _run_one(self, planned: Planned) -> None:
        done = Done(planned, self.now())
        self.done.append(done)
        try:
            done.hit = await self._do(planned)
        except Exception:
            done.error = traceback.format_exc(limit=4)
            if planned.fault in (Fault.REPEAT, Fault.POISON):
                done.hit = 0
        done.ended = self.now()

    async def _do(self, planned: Planned) -> int:
        target, part = self.target, planned.part
        match planned.fault:
            case Fault.KILL:
                await target.kill(part)
                await asyncio.sleep(planned.seconds)
                await target.start(part)
            case Fault.TERMINATE:
                await target.terminate(part)
                await target.start(part)
            case Fault.FAILPOINT:
                return await self._failpoint(planned)
            case Fault.PAUSE:
                await target.pause(part)
                await asyncio.sleep(planned.seconds)
                await target.resume(part)
            case Fault.SLOW | Fault.CUT | Fault.DROP:
                return await self._link(planned)
            case Fault.MAIL:
                return await self._mail_fault(planned)
            case Fault.REPEAT:
                return await self._repeat(part, int(planned.detail))
            case Fault.POISON:
                await self._poison(part, int(planned.detail))
        return 1

    async def _failpoint(self, planned: Planned) -> bool:
        if not await self.target.arm_failpoint(planned.part, planned.detail, planned.seconds):
            return False
        await self.target.restart_dead(planned.part)
        return True

    async def _link(self, planned: Planned) -> int:
        link = self.target.links[planned.part]
        before = link.dropped
        match planned.fault:
            case Fault.SLOW:
                link.delay = float(planned.detail)
            case Fault.CUT:
                link.closed = True
                link.cut()
            case _:
                link.drops = int(planned.detail)
        await asyncio.sleep(planned.seconds)
        link.restore()
        return link.dropped - before if planned.fault is Fault.DROP else 1

    async def _mail_fault(self, planned: Planned) -> int:
        """Set a mailbox fault for the planned time. Return how many commands it affected."""
        mailbox = self.target.mailbox
        fault = {"preset": planned.detail, **MAIL_FAULTS[planned.detail]}
        await asyncio.to_thread(mailbox.set_faults, fault)
        await asyncio.sleep(planned.seconds)
        (status,) = await asyncio.to_thread(mailbox.faults)
        await asyncio.to_thread(mailbox.set_faults)
        return int(status["hits"])

    async def _repeat(self, topic: str, count: int) -> bool:
        """Republish the latest events of a topic, byte for byte."""
        found = await self._latest(topic, count)
        await self._send(topic, [(message.key, message.value) for message in found])
        return bool(found)

    async def _latest(self, topic: str, count: int) -> list[Any]:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.target.addresses.kafka,
            auto_offset_reset="earliest",
            group_id=None,
        )
        async with asyncio.timeout(10):
            await consumer.start()
            try:
                batches = (await consumer.getmany(timeout_ms=2_000)).values()
            finally:
                await consumer.stop()
        readable = [each for batch in batches for each in batch if _is_event(each.value)]
        return readable[-count:]

    async def _poison(self, topic: str, count: int) -> None:
        values = [
            b'{"event_id": "no uuid"}' if number % 2 else b"not json " + secrets.token_bytes(8)
            for number in range(count)
        ]
        # Unique, so that each can be found among the dead letters.
        values = [value + secrets.token_hex(8).encode() for value in values]
        await self._send(topic, [(b"poison", value) for value in values])
        self.poison += values

    async def _send(self, topic: str, messages: Sequence[tuple[bytes | None, bytes]]) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.target.addresses.kafka, acks="all", request_timeout_ms=20_000
        )
        try:
            async with asyncio.timeout(25):
                await producer.start()
                for key, value in messages:
                    await producer.send_and_wait(topic, value, key=key)
        except (KafkaError, TimeoutError) as error:
            raise RuntimeError(f"{topic}: {type(error).__name__}") from error
        finally:
            async with asyncio.timeout(5):
                await producer.stop()


def _is_event(value: bytes | None) -> bool:
    try:
        return isinstance(json.loads(value or b""), dict)
    except ValueError:
        return False
