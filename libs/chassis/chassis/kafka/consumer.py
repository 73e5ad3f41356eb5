"""A consumer group's member: polls, spreads messages over lanes, survives broker and rebalances.

Delivery is at least once: an offset is committed only after its message was handled or buried.
Partitions run beside each other, the messages of one strictly in order. Nothing here ends while
the broker is away; `stop` does, in the time it is given.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError
from prometheus_client import CollectorRegistry

from chassis.backoff import RetryPolicy
from chassis.kafka.batches import METADATA_MAX_AGE_MS, Poller, Record
from chassis.kafka.dead_letters import DeadLetters, Publish
from chassis.kafka.errors import NotConsuming
from chassis.kafka.message_processor import ConsumerMetrics, Handling, Subscription, describe
from chassis.kafka.partition_worker import Lane
from chassis.kafka.retry_topics import RetryTopics

log = logging.getLogger(__name__)

OnAssigned = Callable[[], Awaitable[None]]

_POLL = 200  # milliseconds; also how soon a partition that was full is fetched again
_FULL, _LOW = 100, 20  # messages of one partition in memory: fetching rests from here, until there
_LEAVE = 3.0  # seconds for leaving the group, which asks the broker


class EventConsumer:
    """Consumes topics as a member of a group, from the earliest message on.

    Args:
        bootstrap_servers: `host:port`, several separated by commas.
        group: the group's name; each service has one of its own.
        subscriptions: who handles what; the handlers' errors are those of chassis.kafka.errors.
        publish: writes dead letters; `EventProducer.publish`.
        on_assigned: awaited after partitions were assigned and before the first of their messages
            is handled; tried again until it succeeds.
        max_age: where a partition has no committed offset, messages older than this are skipped.
        session: seconds without a sign of life after which the group takes its partitions away;
            a rebalance waits half of it for the messages in hand.
        retries: the topics where failed messages wait; consumed by the same group.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group: str,
        subscriptions: Sequence[Subscription[Any]],
        *,
        publish: Publish,
        registry: CollectorRegistry,
        policy: RetryPolicy | None = None,
        on_assigned: OnAssigned | None = None,
        max_age: timedelta = timedelta(hours=24),
        session: float = 30.0,
        retries: RetryTopics | None = None,
    ) -> None:
        self._options = _options(bootstrap_servers, group, session)
        self._topics = [entry.topic for entry in subscriptions]
        self._retry_topics: Collection[str] = ()
        if retries is not None:
            self._retry_topics = retries.topics
            self._topics += retries.topics
            # Range keeps equal partition numbers together (see retry_topics). Round robin is for
            # a rolling upgrade: members of a group need one assignor in common.
            assignors = (RangePartitionAssignor, RoundRobinPartitionAssignor)
            self._options["partition_assignment_strategy"] = assignors
        self._policy = policy or RetryPolicy()
        self._on_assigned = on_assigned
        self._max_age = max_age
        self._drain = session / 2
        self._metrics = ConsumerMetrics(registry)
        letters = DeadLetters(publish, group)
        self._handling = Handling(
            subscriptions, group, letters, self._policy, self._metrics, self._halt, retries
        )
        self._consumer: Any = None
        self._lanes: dict[Any, Lane] = {}
        self._preparing: asyncio.Task[None] | None = None
        self._joined = False
        self._halted = False
        self._measured_at = 0.0
        self._deadline: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to consume, and return at once: the broker may be away for a long time yet."""
        self._task = asyncio.create_task(self._run(), name="kafka-consumer")

    async def stop(self, timeout: float = 8.0) -> None:
        """Finish and commit the messages in hand, leave the group; in `timeout` seconds at most."""
        if self._task is None:
            return
        self._deadline = time.monotonic() + timeout
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=timeout + 1)

    async def probe(self) -> None:
        """For readiness: raises unless this member consumes and the broker answers."""
        if self._halted:
            raise NotConsuming("halted after too many failures in a row")
        if not self._joined:
            raise NotConsuming("not a member of the group yet")
        await self._consumer.topics()

    def _halt(self) -> None:
        log.critical("too many failures in a row: consuming stops until the service is restarted")
        self._halted = True
        self._metrics.halted.set(1)

    # -- the loop

    async def _run(self) -> None:
        for attempt in count(1):
            try:
                await self._session()
            except Exception as error:
                log.warning("restarting consumer session", extra=describe(error))
            if self._halted:
                return
            await asyncio.sleep(self._policy.delay(attempt))

    async def _session(self) -> None:
        """One membership, from joining to the first error or to the end of the service."""
        consumer = self._consumer = AIOKafkaConsumer(**self._options)
        consumer.subscribe(self._topics, listener=_Rebalances(self._revoked, self._assigned))
        poller = Poller(consumer, self._options["bootstrap_servers"])
        try:
            await consumer.start()
            while not self._halted:
                self._distribute(await poller.poll(timeout_ms=_POLL, max_records=_FULL))
                await self._measure()
        finally:
            self._joined = False
            deadline = self._deadline or time.monotonic() + self._drain + _LEAVE
            await self._close_lanes(deadline - time.monotonic() - _LEAVE)
            await self._leave(consumer, deadline - time.monotonic())

    def _distribute(self, batches: Mapping[Any, Sequence[Record]]) -> None:
        self._metrics.last_poll.set_to_current_time()
        for partition, records in batches.items():
            lane = self._lanes.get(partition)
            if lane is not None:
                lane.add(records)
            elif partition in self._consumer.assignment():
                # Fetched between the assignment and the pause that begins its preparation.
                self._consumer.seek(partition, records[0].offset)
        for partition, lane in self._lanes.items():
            lane.check()
            if lane.unhandled >= _FULL:
                self._consumer.pause(partition)
            elif lane.unhandled <= _LOW:
                self._consumer.resume(partition)

    async def _measure(self) -> None:
        """The lag, once a second, from the high watermark that each fetch brings.

        The broker's "latest offset" would cost a request, and is wrong on the embedded broker.
        """
        if time.monotonic() - self._measured_at < 1.0:
            return
        self._measured_at = time.monotonic()
        for partition, lane in list(self._lanes.items()):
            try:
                highwater = self._consumer.highwater(partition)
                if highwater is not None:
                    fetched = await self._consumer.position(partition)
                    lag = highwater - fetched + lane.unhandled
                    self._metrics.lag.labels(*partition).set(lag)
            except (AssertionError, IllegalStateError):
                return  # taken away meanwhile

    async def _leave(self, consumer: Any, seconds: float) -> None:
        """Leave the group; a broker that is away must not keep the process from its end."""
        leaving = asyncio.create_task(consumer.stop(), name="kafka-consumer-leave")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._left)
        _, unfinished = await asyncio.wait({leaving}, timeout=max(0.5, seconds))
        if unfinished:
            log.warning("the broker is away; the consumer ends without leaving its group")

    def _left(self, leaving: asyncio.Task[None]) -> None:
        self._leaving.discard(leaving)
        if not leaving.cancelled() and (error := leaving.exception()) is not None:
            log.info("a consumer ended badly", extra={"error": type(error).__name__})

    # -- rebalances

    async def _revoked(self) -> None:
        """Before the group moves on: what is in hand ends and is committed, or is given up.

        aiokafka awaits this with its heartbeat running, and getmany stands still meanwhile.
        """
        await self._close_lanes(self._drain)

    def _assigned(self, partitions: Collection[Any]) -> None:
        """Keep new partitions silent until they are prepared.

        The preparation is a task of its own: aiokafka does not send heartbeats before this method
        returns, and reading what other members did may take longer than a session.
        """
        self._consumer.pause(*partitions)
        self._preparing = asyncio.create_task(self._prepare(partitions), name="kafka-prepare")

    async def _prepare(self, partitions: Collection[Any]) -> None:
        for attempt in count(1):
            try:
                if self._on_assigned is not None and partitions:
                    await self._on_assigned()
                async with asyncio.timeout(self._policy.commit_timeout):
                    committed = {tp: await self._consumer.committed(tp) for tp in partitions}
                break
            except Exception as error:
                log.warning("partitions not prepared yet", extra=describe(error))
                await asyncio.sleep(self._policy.delay(attempt))
        horizon = round((time.time() - self._max_age.total_seconds()) * 1000)
        for partition, offset in committed.items():
            commit = partial(self._commit, self._consumer, partition)
            is_new = offset is None and partition.topic not in self._retry_topics
            skip_before = horizon if is_new else None
            self._lanes[partition] = Lane(self._handling.process, commit, skip_before)
        self._consumer.resume(*partitions)
        self._joined = True

    @staticmethod
    async def _commit(consumer: Any, partition: Any, offset: int) -> None:
        await consumer.commit({partition: offset})

    async def _close_lanes(self, seconds: float) -> None:
        """Give the messages in hand `seconds` to end; then they are cancelled, uncommitted."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait({self._preparing})
        lanes, self._lanes = self._lanes, {}
        for partition, lane in lanes.items():
            lane.close()
            self._metrics.lag.remove(*map(str, partition))
        if not lanes:
            return
        _, unfinished = await asyncio.wait(
            {lane.task for lane in lanes.values()}, timeout=max(0.0, seconds)
        )
        for task in unfinished:
            log.warning("a message in hand was given up")
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=1.0)


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(
        self,
        revoked: Callable[[], Awaitable[None]],
        assigned: Callable[[Collection[Any]], None],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._revoked()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._assigned(assigned)


def _options(bootstrap_servers: str, group: str, session: float) -> dict[str, Any]:
    milliseconds = round(session * 1000)
    return {
        "bootstrap_servers": bootstrap_servers,
        "group_id": group,
        "client_id": group,
        "auto_offset_reset": "earliest",  # "latest" loses what was published before the first join
        "enable_auto_commit": False,
        "session_timeout_ms": milliseconds,
        "heartbeat_interval_ms": milliseconds // 10,
        "rebalance_timeout_ms": milliseconds,
        # A join may take as long as a rebalance; a shorter request would give up in its midst.
        "request_timeout_ms": milliseconds + 10_000,
        "retry_backoff_ms": 500,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "fetch_max_bytes": 4_000_000,  # what one answer may cost in memory; 50 MB unless told
    }
