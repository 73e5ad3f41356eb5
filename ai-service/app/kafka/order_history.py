"""Read order-placed from the beginning and count which products are bought together.

Every replica reads the whole topic without a consumer group, so each has all counts, and a restart
rebuilds them within seconds without a database. Orders older than the topic's retention are lost
at a restart, which is accepted. A redelivered event counts twice, which changes no ranking.
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
from app.services.co_purchases import CoPurchases
from chassis.backoff import RetryPolicy
from chassis.kafka.batches import METADATA_MAX_AGE_MS, Poller, UndecodableBatch
from chassis.kafka.message_processor import describe

log = logging.getLogger(__name__)

_MAX_RECORDS = 500


class _Item(BaseModel):
    product_id: str


class _Order(BaseModel):
    """The only field that is parsed: no names and no addresses."""

    items: list[_Item]


class OrderHistory:
    """Count the co-purchases of all orders of the topic in `co_purchases`."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._bootstrap_servers = settings.kafka_bootstrap_servers
        self.co_purchases = CoPurchases(settings.learn_max_products)
        self._backoff = RetryPolicy()
        self._task: asyncio.Task[None] | None = None
        gauge = Gauge(
            "co_purchases_products", "Products with counted co-purchases", registry=registry
        )
        gauge.set_function(lambda: len(self.co_purchases))

    def start(self) -> None:
        """Start reading in the background."""
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
                log.warning("restarting order history consumer", extra=describe(error))
            await asyncio.sleep(self._backoff.delay(attempt))

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            ORDER_PLACED,
            bootstrap_servers=self._bootstrap_servers,
            client_id="order-history",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=500,
            fetch_max_bytes=300_000,  # bounds memory while a long history is read
            retry_backoff_ms=500,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
        )
        poller = Poller(consumer, self._bootstrap_servers)
        try:
            await consumer.start()
            self.co_purchases.clear()  # this session reads from the beginning again
            while True:
                for records in (await poller.poll(1_000, _MAX_RECORDS)).values():
                    for record in records:
                        if not isinstance(record, UndecodableBatch):
                            self._add_order(record.value)
        finally:
            await consumer.stop()

    def _add_order(self, value: Any) -> None:
        try:
            order = _Order.model_validate_json(value or b"")
        except ValidationError:
            return  # the service's event consumer dead-letters it
        self.co_purchases.add_order([item.product_id for item in order.items])
