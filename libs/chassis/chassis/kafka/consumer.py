"""A member of a consumer group: polls, and passes the messages to one worker per partition.

Delivery is at least once (see message_processor). The consumer reconnects for as long as the broker
is unavailable; `stop` ends it within a given time.
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

from chassis.kafka.batches import METADATA_MAX_AGE_MS, Poller, Record
from chassis.kafka.dead_letters import DeadLetters, Publish
from chassis.kafka.errors import NotConsuming
from chassis.kafka.message_processor import (
    ConsumerGroup,
    ConsumerMetrics,
    ConsumerPolicy,
    PartitionWorker,
    Subscription,
    describe,
)
from chassis.kafka.retry_topics import RetryTopics

log = logging.getLogger(__name__)

OnAssigned = Callable[[], Awaitable[None]]

_POLL = 200  # milliseconds; a paused partition is resumed at the next poll
_PAUSE_AT, _RESUME_AT = 100, 20  # unfinished messages of one partition
_LEAVE = 3.0  # seconds for leaving the group, which takes a request


class EventConsumer:
    """Consumes topics as a member of a group, starting with the earliest message.

    Args:
        bootstrap_servers: `host:port`, several separated by commas.
        group: the group's name.
        subscriptions: the topics and their handlers; see chassis.kafka.errors for errors.
        publish: writes dead letters; `EventProducer.publish`.
        on_assigned: awaited after partitions were assigned and before the first of their messages
            is handled; retried until it succeeds.
        max_age: messages older than this are skipped where a partition has no committed offset.
        session: seconds without heartbeats after which this member loses its partitions; a
            rebalance waits up to half of it for the messages in progress.
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
        policy: ConsumerPolicy | None = None,
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
        self._policy = policy or ConsumerPolicy()
        self._on_assigned = on_assigned
        self._max_age = max_age
        self._drain = session / 2
        self._metrics = ConsumerMetrics(registry)
        self._group = ConsumerGroup(
            name=group,
            subscriptions={entry.topic: entry for entry in subscriptions},
            dead_letters=DeadLetters(publish, group),
            policy=self._policy,
            metrics=self._metrics,
            halt=self._halt,
            retries=retries,
        )
        self._consumer: Any = None
        self._workers: dict[Any, PartitionWorker] = {}
        self._preparing: asyncio.Task[None] | None = None
        self._joined = False
        self._halted = False
        self._measured_at = 0.0
        self._deadline: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start consuming in the background. The broker may still be unavailable."""
        self._task = asyncio.create_task(self._run(), name="kafka-consumer")

    async def stop(self, timeout: float = 8.0) -> None:
        """Finish and commit the messages in progress and leave the group.

        Args:
            timeout: seconds.
        """
        if self._task is None:
            return
        self._deadline = time.monotonic() + timeout
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=timeout + 1)

    async def probe(self) -> None:
        """Check for readiness: raise unless this member consumes and the broker responds."""
        if self._halted:
            raise NotConsuming("halted after too many failures in a row")
        if not self._joined:
            raise NotConsuming("not a member of the group yet")
        await self._consumer.topics()

    def _halt(self) -> None:
        log.critical("consumer halted after too many consecutive failures")
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
        """Consume as a member of the group until the first error or the end of the service."""
        consumer = self._consumer = AIOKafkaConsumer(**self._options)
        consumer.subscribe(self._topics, listener=_Rebalances(self._revoked, self._assigned))
        poller = Poller(consumer, self._options["bootstrap_servers"])
        try:
            await consumer.start()
            while not self._halted:
                self._distribute(await poller.poll(timeout_ms=_POLL, max_records=_PAUSE_AT))
                await self._measure()
        finally:
            self._joined = False
            deadline = self._deadline or time.monotonic() + self._drain + _LEAVE
            await self._close_workers(deadline - time.monotonic() - _LEAVE)
            await self._leave(consumer, deadline - time.monotonic())

    def _distribute(self, batches: Mapping[Any, Sequence[Record]]) -> None:
        self._metrics.last_poll.set_to_current_time()
        for partition, records in batches.items():
            worker = self._workers.get(partition)
            if worker is not None:
                worker.add(records)
            elif partition in self._consumer.assignment():
                # Fetched after the assignment, before `_assigned` paused the partition.
                self._consumer.seek(partition, records[0].offset)
        for partition, worker in self._workers.items():
            worker.check()
            if worker.unfinished >= _PAUSE_AT:
                self._consumer.pause(partition)
            elif worker.unfinished <= _RESUME_AT:
                self._consumer.resume(partition)

    async def _measure(self) -> None:
        """Set the lag once a second, from the high watermark of the last fetch.

        The "latest offset" would cost a request, and the embedded broker reports a wrong one.
        """
        if time.monotonic() - self._measured_at < 1.0:
            return
        self._measured_at = time.monotonic()
        for partition, worker in list(self._workers.items()):
            try:
                highwater = self._consumer.highwater(partition)
                if highwater is not None:
                    fetched = await self._consumer.position(partition)
                    lag = highwater - fetched + worker.unfinished
                    self._metrics.lag.labels(*partition).set(lag)
            except (AssertionError, IllegalStateError):
                return  # revoked meanwhile

    async def _leave(self, consumer: Any, seconds: float) -> None:
        """Leave the group, without waiting for an unavailable broker."""
        leaving = asyncio.create_task(consumer.stop(), name="kafka-consumer-leave")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._left)
        _, unfinished = await asyncio.wait({leaving}, timeout=max(0.5, seconds))
        if unfinished:
            log.warning("consumer stopped without leaving its group: the broker is unavailable")

    def _left(self, leaving: asyncio.Task[None]) -> None:
        self._leaving.discard(leaving)
        if not leaving.cancelled() and (error := leaving.exception()) is not None:
            log.info("consumer failed to stop", extra={"error": type(error).__name__})

    # -- rebalances

    async def _revoked(self) -> None:
        """Finish and commit the messages in progress before the partitions are reassigned.

        aiokafka awaits this while its heartbeats continue; getmany returns nothing meanwhile.
        """
        await self._close_workers(self._drain)

    def _assigned(self, partitions: Collection[Any]) -> None:
        """Pause new partitions until they are prepared.

        The preparation is a separate task, because aiokafka sends no heartbeats before this method
        returns, and `on_assigned` may take longer than a session.
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
            self._workers[partition] = PartitionWorker(self._group, commit, skip_before)
        self._consumer.resume(*partitions)
        self._joined = True

    @staticmethod
    async def _commit(consumer: Any, partition: Any, offset: int) -> None:
        await consumer.commit({partition: offset})

    async def _close_workers(self, seconds: float) -> None:
        """Give the messages in progress `seconds` to finish, then cancel them uncommitted."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait({self._preparing})
        workers, self._workers = self._workers, {}
        for partition, worker in workers.items():
            worker.close()
            self._metrics.lag.remove(*map(str, partition))
        if not workers:
            return
        _, unfinished = await asyncio.wait(
            {worker.task for worker in workers.values()}, timeout=max(0.0, seconds)
        )
        for task in unfinished:
            log.warning("message in progress cancelled")
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
        "auto_offset_reset": "earliest",  # "latest" skips messages published before the first join
        "enable_auto_commit": False,
        "session_timeout_ms": milliseconds,
        "heartbeat_interval_ms": milliseconds // 10,
        "rebalance_timeout_ms": milliseconds,
        # A join request may take as long as a rebalance.
        "request_timeout_ms": milliseconds + 10_000,
        "retry_backoff_ms": 500,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "fetch_max_bytes": 4_000_000,  # memory of one response; 50 MB by default
    }
