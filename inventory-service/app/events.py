"""Events that inventory-service publishes. Schema and golden sample: contracts/events/."""

from typing import Literal

from chassis.kafka.events import Event

INVENTORY_LOW = "inventory-low"


class InventoryLow(Event):
    """A product's available quantity fell below its threshold; once for each downward crossing."""

    event_type: Literal["INVENTORY_LOW"] = "INVENTORY_LOW"
    product_id: str
    product_name: str
    available_qty: int
    threshold: int
