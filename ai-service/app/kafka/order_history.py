"""Follows order-placed from its beginning, to learn what is bought together.

Every replica reads the whole topic, without a group: so each has the whole picture, and a restart
has it again within seconds, with no store to keep. What is older than the topic's retention is
forgotten with it, as it should be. A repeated event counts twice, which changes no rank.
"""

import asyncio
import logging
from itertools import count
from typing import Any

from aiokafka import AIOKafkaConsumer
from prometheus_client import CollectorRegistry, Gauge
from pydantic import BaseModel, ValidationError

from app.config import Settings
from app.events import ORDER_PLACED
from app.services.co_purchases import BoughtTogether
from chassis.backoff import RetryPolicy
from chassis.kafka.batches import METADATA_MAX_AGE_MS, Poller, UndecodableBatch
from chassis.kafka.message_processor import describe

log = logging.getLogger(__name__)

_MAX_RECORDS = 500


class _Item(BaseModel):
    product_id: str


class _Order(BaseModel):
    """All that is learnt from: no name and no address is even parsed."""

    items: list[_Item]


class OrderHistory:
    """Learns what the topic says into `habits`."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._bootstrap_servers = settings.kafka_bootstrap_servers
        self.habits = BoughtTogether(settings.learn_max_products)
        self._backoff = RetryPolicy()
        self._task: asyncio.Task[None] | None = None
        gauge = Gauge("habits_products", "Products that are known from orders", registry=registry)
        gauge.set_function(lambda: len(self.habits))

    def start(self) -> None:
        """Begin to follow, and return at once."""
        self._task = asyncio.create_task(self._run(), name="order-history")

    async def stop(self, timeout: float = 1.0) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=timeout)

    async def _run(self) -> None:
        for attempt in count(1):
            try:
                await self._follow()
            except Exception as error:
                log.warning("order history is followed anew", extra=describe(error))
            await asyncio.sleep(self._backoff.delay(attempt))

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            ORDER_PLACED,
            bootstrap_servers=self._bootstrap_servers,
            client_id="order-history",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=500,
            fetch_max_bytes=300_000,  # a long history costs little memory
            retry_backoff_ms=500,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
        )
        poller = Poller(consumer, self._bootstrap_servers)
        try:
            await consumer.start()
            self.habits.forget()  # from the beginning again
            while True:
                for records in (await poller.poll(1_000, _MAX_RECORDS)).values():
                    for record in records:
                        if not isinstance(record, UndecodableBatch):
                            self._learn(record.value)
        finally:
            await consumer.stop()

    def _learn(self, value: Any) -> None:
        try:
            order = _Order.model_validate_json(value or b"")
        except ValidationError:
            return  # the consumer beside this one makes a dead letter of it
        self.habits.learn([item.product_id for item in order.items])
