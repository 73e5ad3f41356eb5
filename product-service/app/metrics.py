"""Metrics of the MongoDB connection pool."""

from prometheus_client import CollectorRegistry
from pymongo import monitoring

from app.config import Settings
from chassis.observability.metrics import pool_gauges


class PoolUse(monitoring.ConnectionPoolListener):
    """Count connections in use. Other pool events are ignored."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._in_use, limit = pool_gauges(registry)
        limit.set(settings.mongodb_max_pool_size)

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self._in_use.inc()

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        self._in_use.dec()

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None: ...

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None: ...

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None: ...

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None: ...

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None: ...

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None: ...

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None: ...

    def connection_check_out_started(
        self, event: monitoring.ConnectionCheckOutStartedEvent
    ) -> None: ...

    def connection_check_out_failed(
        self, event: monitoring.ConnectionCheckOutFailedEvent
    ) -> None: ...
