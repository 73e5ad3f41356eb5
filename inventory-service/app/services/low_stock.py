"""Low stock: said once for each time that an available quantity falls below the threshold."""

from app.events import INVENTORY_LOW, InventoryLow
from app.metrics import StockMetrics
from app.models.inventory import InventoryItem
from chassis.postgres.database import Connection
from chassis.postgres.outbox import add_event


class LowStockWatch:
    """Writes `inventory-low` into the transaction that made the crossing.

    That transaction holds the item's lock, so `before` and `after` are neighbours: no crossing is
    seen twice and none is missed, however many calls take from the item at once.
    """

    def __init__(self, threshold: int, metrics: StockMetrics) -> None:
        self.threshold = threshold
        self._metrics = metrics

    async def note(
        self, connection: Connection, item: InventoryItem, available_before: int
    ) -> None:
        """Tell of `item`, as it is now, if it was not low before and is low now."""
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
