"""Publish `inventory-low` once for each downward crossing of the threshold."""

from sqlalchemy.ext.asyncio import AsyncConnection

from app.events import INVENTORY_LOW, InventoryLow
from app.metrics import StockMetrics
from app.models.inventory import InventoryItem
from chassis.postgres.outbox import add_event


class LowStockWatch:
    """Write the event in the transaction that made the crossing.

    That transaction holds the item's lock, so no other change lies between the two quantities: no
    crossing is reported twice and none is missed, however many calls change the item.
    """

    def __init__(self, threshold: int, metrics: StockMetrics) -> None:
        self.threshold = threshold
        self._metrics = metrics

    async def note(
        self, connection: AsyncConnection, item: InventoryItem, available_before: int
    ) -> None:
        """Write an event if `item` is low now and was not low before."""
        if not item.available_qty < self.threshold <= available_before:
            return
        event = InventoryLow(
            product_id=item.product_id,
            product_name=item.product_name,
            available_qty=item.available_qty,
            threshold=self.threshold,
        )
        await add_event(connection, topic=INVENTORY_LOW, key=item.product_id, event=event)
        self._metrics.low_crossings.inc()
