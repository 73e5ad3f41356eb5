"""Recovery loop: cancels orders that a crash, a pause or a lost reply left unfinished.

Every replica runs one. It leases orders in a transaction of its own, then acts with no transaction
open. It only cancels: an order that it could confirm may already have been refused to its customer.
"""

import asyncio
import logging

from app.clients.inventory_client import InventoryClient
from app.config import Settings
from app.errors import InventoryUnavailable
from app.metrics import OrderMetrics
from app.models.order import CancelledBy, OrderStatus
from app.repositories.idempotency_repository import IdempotencyRepository
from app.repositories.order_repository import Claimed, OrderRepository
from chassis.failpoints import reach
from chassis.http_client.deadline import Deadline
from chassis.postgres.database import Database
from chassis.postgres.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

BATCH = 50


class RecoveryLoop:
    def __init__(
        self,
        database: Database,
        inventory: InventoryClient,
        settings: Settings,
        metrics: OrderMetrics,
    ) -> None:
        self._database = database
        self._inventory = inventory
        self._settings = settings
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="recovery")

    async def stop(self) -> None:
        """Stop at once. Orders in progress are claimed again when their lease expires."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                full = await self.recover() == BATCH
                if not full:
                    await self._delete_expired_keys()
            except DatabaseUnavailable:
                full = False
            except Exception:
                log.exception("recovery failed, continuing")
                full = False
            await asyncio.sleep(0 if full else self._settings.recovery_interval)

    async def recover(self) -> int:
        """Claim and settle orders whose lease has expired; return their number."""
        async with self._database.connection() as connection:
            orders = OrderRepository(connection)
            claimed = await orders.claim_unfinished(BATCH, self._settings.lease_seconds)
        if claimed:
            reach("recovery.claimed")
        results = await asyncio.gather(
            *(self._settle(order) for order in claimed), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                self._metrics.count_recovery("failed")
                if not isinstance(result, InventoryUnavailable | DatabaseUnavailable):
                    raise result
        return len(claimed)

    async def _settle(self, order: Claimed) -> None:
        if order.status == OrderStatus.PENDING and not await self._cancel(order):
            return  # its own request was faster
        reach("recovery.cancelled")
        # The lease outlasts this call, so that no other replica works on the same order. If one
        # does, the reversal is idempotent.
        await self._inventory.reverse(order.id, Deadline.after(self._settings.place_deadline))
        reach("recovery.reversed")
        async with self._database.connection() as connection:
            await OrderRepository(connection).clear_debt(order.id)
        self._metrics.count_recovery("reversed")

    async def _cancel(self, order: Claimed) -> bool:
        async with self._database.transaction() as connection:
            done = await OrderRepository(connection).cancel_pending(
                order.id,
                CancelledBy.RECOVERY,
                stock_debt=True,
                lease=self._settings.lease_seconds,
            )
            if done:
                hours = self._settings.idempotency_hours
                await IdempotencyRepository(connection, hours).release(order.id)
        if done:
            self._metrics.count_recovery("cancelled")
            log.warning("cancelled unfinished order", extra={"order_id": str(order.id)})
        return done

    async def _delete_expired_keys(self) -> None:
        async with self._database.connection() as connection:
            hours = self._settings.idempotency_hours
            await IdempotencyRepository(connection, hours).delete_expired()
