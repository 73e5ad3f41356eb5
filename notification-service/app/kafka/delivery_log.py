"""What was mailed, remembered without a database: the topic `mail-sent`.

Every replica follows the whole topic. Why before handling a newly assigned partition it must also
`catch_up`: its former owner may have mailed and recorded until the moment it let go.
"""

import asyncio
import json
import logging
import time
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer
from prometheus_client import CollectorRegistry, Gauge

from app.config import Settings
from chassis.backoff import RetryPolicy
from chassis.kafka.batches import METADATA_MAX_AGE_MS, Poller, UndecodableBatch
from chassis.kafka.message_processor import describe
from chassis.kafka.producer import EventProducer
from chassis.observability.tracing import traceparent

log = logging.getLogger(__name__)

TOPIC = "mail-sent"
_MAX_RECORDS = 500
_LOOK = 0.02  # seconds between two looks at how far the follower has come


class SentIds:
    """A bounded memory of event ids, oldest forgotten first.

    Args:
        capacity: ids kept at most; one costs about 200 bytes.
        seconds: how long an id is kept.
    """

    def __init__(self, capacity: int, seconds: float) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._times: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, event_id: UUID) -> bool:
        return event_id.bytes in self._times

    def add(self, event_id: UUID, moment: float) -> None:
        horizon = time.time() - self._seconds
        if moment >= horizon:
            self._times.setdefault(event_id.bytes, moment)
        while self._times:
            oldest = next(iter(self._times))
            if len(self._times) <= self._capacity and self._times[oldest] >= horizon:
                return
            del self._times[oldest]


class SentMailsTopic:
    """Follows `mail-sent` and writes to it with `producer`."""

    def __init__(
        self, settings: Settings, producer: EventProducer, registry: CollectorRegistry
    ) -> None:
        self._bootstrap_servers = settings.kafka_bootstrap_servers
        self._producer = producer
        self._ids = SentIds(settings.sent_memory, settings.sent_days * 86_400)
        self._owed: dict[UUID, str] = {}
        self._backoff = RetryPolicy()
        self._consumer: Any = None
        self._task: asyncio.Task[None] | None = None
        gauge = Gauge("mail_sent_ids", "Mailed events that are remembered", registry=registry)
        gauge.set_function(lambda: len(self._ids))

    def knows(self, event_id: UUID) -> bool:
        """Whether this event has had its mail, as far as this replica has heard."""
        return event_id in self._owed or event_id in self._ids

    def remember(self, event_id: UUID, event_type: str) -> None:
        """It was mailed, just now, by this process; its record is owed."""
        self._owed[event_id] = event_type

    async def settle(self) -> None:
        """Write the records that are owed: for every replica, and for this one after a restart.

        Raises:
            BrokerUnavailable: one is still owed.
        """
        for event_id, event_type in list(self._owed.items()):
            value = {"event_id": str(event_id), "event_type": event_type, "sent_at": _now()}
            parent = traceparent()
            headers = {"traceparent": parent} if parent else {}
            await self._producer.send(TOPIC, str(event_id), json.dumps(value).encode(), headers)
            self._ids.add(event_id, time.time())
            self._owed.pop(event_id, None)

    def start(self) -> None:
        """Begin to follow, and return at once."""
        self._task = asyncio.create_task(self._run(), name="mail-sent-follower")

    async def stop(self, timeout: float = 1.0) -> None:
        """Stop following. A mail without its record is mailed again by the next owner: log it."""
        for event_id, event_type in self._owed.items():
            fields = {"event_id": str(event_id), "event_type": event_type}
            log.warning("mail not recorded before the stop", extra=fields)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=timeout)

    async def catch_up(self) -> None:
        """Return when every record that was acknowledged before this call is remembered.

        The high watermark of a fetch is asked for, not the topic's "latest offset": the embedded
        broker tells that wrong. The first answer after this call may belong to a fetch that was
        sent before it, so the second one counts.
        """
        for _ in range(2):
            before = self._answered_at()
            while not self._newer(before):  # noqa: ASYNC110  aiokafka has no event for it
                await asyncio.sleep(_LOOK)
        while not await self._at_high_watermark():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)

    def _answered_at(self) -> dict[Any, int | None]:
        """When the broker last answered a fetch, for each partition; empty while away."""
        consumer = self._consumer
        if consumer is None:
            return {}
        return {tp: consumer.last_poll_timestamp(tp) for tp in consumer.assignment()}

    def _newer(self, before: dict[Any, int | None]) -> bool:
        now = self._answered_at()
        return bool(now) and all(
            moment is not None and moment != before.get(tp) for tp, moment in now.items()
        )

    async def _at_high_watermark(self) -> bool:
        consumer = self._consumer
        if consumer is None:
            return False
        for tp in consumer.assignment():
            highwater = consumer.highwater(tp)
            if highwater is None or await consumer.position(tp) < highwater:
                return False
        return True

    async def _run(self) -> None:
        for attempt in count(1):
            try:
                await self._follow()
            except Exception as error:
                log.warning("mail-sent is followed anew", extra=describe(error))
            await asyncio.sleep(self._backoff.delay(attempt))

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            TOPIC,
            bootstrap_servers=self._bootstrap_servers,
            client_id="mail-sent",
            auto_offset_reset="earliest",
            # It may learn late, for `catch_up` waits for it: an answer a fifth of a second, not one
            # for each record.
            fetch_min_bytes=100_000,
            fetch_max_wait_ms=200,
            fetch_max_bytes=300_000,  # some 1,500 records: a backlog costs little memory
            retry_backoff_ms=500,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
        )
        poller = Poller(consumer, self._bootstrap_servers)
        try:
            await consumer.start()
            self._consumer = consumer
            while True:
                for records in (await poller.poll(1_000, _MAX_RECORDS)).values():
                    for record in records:
                        if not isinstance(record, UndecodableBatch):  # `poll` has logged it
                            self._learn(record.key, (record.timestamp or 0) / 1000)
        finally:
            self._consumer = None
            await consumer.stop()

    def _learn(self, key: bytes | None, moment: float) -> None:
        try:
            self._ids.add(UUID((key or b"").decode()), moment)
        except ValueError:
            log.warning("a record of mail-sent has no event id as its key")


def _now() -> str:
    return datetime.now(UTC).isoformat()
