"""The delivery log: the ids of the events whose mails were sent, on the topic `mail-sent`.

Every replica reads the whole topic. Before it handles a newly assigned partition it must also
`catch_up`, because the former owner may have sent mails until it gave the partition up.
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

log = logging.getLogger(__name__)

TOPIC = "mail-sent"
_MAX_RECORDS = 500
_POLL_SECONDS = 0.02  # interval at which `catch_up` checks the reader's progress


class SentIds:
    """A bounded set of event ids that drops the oldest first.

    Args:
        capacity: most ids kept; each takes about 200 bytes.
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


class DeliveryLogTopic:
    """Reads `mail-sent`, and writes to it with `producer`."""

    def __init__(
        self, settings: Settings, producer: EventProducer, registry: CollectorRegistry
    ) -> None:
        self._bootstrap_servers = settings.kafka_bootstrap_servers
        self._producer = producer
        self._ids = SentIds(settings.sent_memory, settings.sent_days * 86_400)
        self._unwritten: dict[UUID, str] = {}
        self._backoff = RetryPolicy()
        self._consumer: Any = None
        self._task: asyncio.Task[None] | None = None
        gauge = Gauge("mail_sent_ids", "Event ids of sent mails in memory", registry=registry)
        gauge.set_function(lambda: len(self._ids))

    def contains(self, event_id: UUID) -> bool:
        """Return True if the event's mail was sent, as far as this replica knows."""
        return event_id in self._unwritten or event_id in self._ids

    def add(self, event_id: UUID, event_type: str) -> None:
        """Add a mail that this process has just sent; `flush` writes the record."""
        self._unwritten[event_id] = event_type

    async def flush(self) -> None:
        """Write the records that are not written yet.

        Raises:
            BrokerUnavailable: a record is still not written.
        """
        for event_id, event_type in list(self._unwritten.items()):
            value = {"event_id": str(event_id), "event_type": event_type, "sent_at": _now()}
            await self._producer.send(TOPIC, str(event_id), json.dumps(value).encode(), {})
            self._ids.add(event_id, time.time())
            self._unwritten.pop(event_id, None)

    def start(self) -> None:
        """Start reading in the background."""
        self._task = asyncio.create_task(self._run(), name="delivery-log-reader")

    async def stop(self, timeout: float = 1.0) -> None:
        """Stop reading. Log each mail without a record: the next owner sends it again."""
        for event_id, event_type in self._unwritten.items():
            fields = {"event_id": str(event_id), "event_type": event_type}
            log.warning("mail not recorded before the stop", extra=fields)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=timeout)

    async def catch_up(self) -> None:
        """Return when every record that was acknowledged before this call has been read.

        Uses the high watermark of a fetch, because the embedded broker reports a wrong "latest
        offset". The first response after this call may belong to a fetch that was sent before it,
        so the second response decides.
        """
        for _ in range(2):
            before = self._last_responses()
            while not self._newer(before):  # noqa: ASYNC110  aiokafka has no event for it
                await asyncio.sleep(_POLL_SECONDS)
        while not await self._at_high_watermark():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)

    def _last_responses(self) -> dict[Any, int | None]:
        """Return the time of the last fetch response by partition; empty without a connection."""
        consumer = self._consumer
        if consumer is None:
            return {}
        return {tp: consumer.last_poll_timestamp(tp) for tp in consumer.assignment()}

    def _newer(self, before: dict[Any, int | None]) -> bool:
        now = self._last_responses()
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
                await self._read()
            except Exception as error:
                log.warning("restarting the delivery log reader", extra=describe(error))
            await asyncio.sleep(self._backoff.delay(attempt))

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            TOPIC,
            bootstrap_servers=self._bootstrap_servers,
            client_id="mail-sent",
            auto_offset_reset="earliest",
            # Five responses a second at most, not one for each record: `catch_up` waits for them.
            fetch_min_bytes=100_000,
            fetch_max_wait_ms=200,
            fetch_max_bytes=300_000,  # about 1,500 records, to bound the memory of a backlog
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
                            self._add_record(record.key, (record.timestamp or 0) / 1000)
        finally:
            self._consumer = None
            await consumer.stop()

    def _add_record(self, key: bytes | None, moment: float) -> None:
        try:
            self._ids.add(UUID((key or b"").decode()), moment)
        except ValueError:
            log.warning("delivery log record without an event id skipped")


def _now() -> str:
    return datetime.now(UTC).isoformat()
