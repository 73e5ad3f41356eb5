"""The services that order-service calls, together."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from app.clients.inventory_client import InventoryClient
from app.clients.product_client import ProductClient
from app.config import Settings
from chassis.app.health import Dependency


@dataclass(frozen=True, slots=True)
class Peers:
    inventory: InventoryClient
    catalogue: ProductClient

    @classmethod
    def of(cls, settings: Settings, registry: CollectorRegistry) -> "Peers":
        return cls(
            InventoryClient(settings.inventory_service_url, registry),
            ProductClient(settings.product_service_url, registry),
        )

    async def close(self) -> None:
        await self.inventory.close()
        await self.catalogue.close()

    @property
    def needs(self) -> tuple[Dependency, ...]:
        """Their rows in the readiness table; orders can be read and cancelled without them."""
        return (
            Dependency("inventory-service", self.inventory.ping),
            Dependency("product-service", self.catalogue.ping),
        )
