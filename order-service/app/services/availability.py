"""An order's stock: advice before anything is stored, and the one call that takes it.

The advice decides nothing: another order may take the last piece between check and reduction. It
keeps orders that would be refused from being stored. Where inventory said a moment ago that there
is far more than is asked for, asking again would tell nothing new (docs/adr/0029).
"""

import time
from collections.abc import Mapping
from uuid import UUID

from app.clients.inventory_client import Availability, InventoryClient, Refused
from app.config import Settings
from app.metrics import OrderMetrics
from app.services.ttl_cache import Clock, Memory
from chassis.http_client.deadline import Deadline

PLENTY = 20  # times what is asked for


class Stock:
    """What inventory has. Raises what its client does."""

    def __init__(
        self,
        inventory: InventoryClient,
        settings: Settings,
        metrics: OrderMetrics,
        clock: Clock = time.monotonic,
    ) -> None:
        self._inventory = inventory
        self._metrics = metrics
        self._clock = clock
        self._left: Memory[int] = Memory(
            settings.stock_memory_seconds, settings.stock_memory_products, clock
        )

    def has_plenty(self, product_id: str, quantity: int) -> bool:
        """Whether so little is asked for, by inventory's word of a moment ago, that it is there."""
        left = self._left.recall([product_id]).get(product_id, 0)
        plenty = left >= PLENTY * quantity
        self._metrics.count_stock_check("remembered" if plenty else "asked")
        return plenty

    async def check(self, product_id: str, quantity: int, deadline: Deadline) -> Availability:
        """Ask how much there is of a product."""
        asked_at = self._clock()
        found = await self._inventory.check(product_id, quantity, deadline)
        self._left.keep({product_id: found.available_qty}, asked_at)
        return found

    async def reduce(
        self, order_id: UUID, pieces: Mapping[str, int], deadline: Deadline
    ) -> Refused | None:
        """Take all pieces or none, under the order's id. None: they are taken."""
        asked_at = self._clock()
        answer = await self._inventory.reduce(order_id, pieces, deadline)
        if isinstance(answer, Refused):
            self._left.forget(pieces)
            return answer
        self._left.keep(answer, asked_at)
        return None
