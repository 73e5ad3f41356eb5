"""Build order-service: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app.clients.inventory_client import InventoryClient
from app.clients.product_client import ProductClient
from app.config import Settings
from app.metrics import OrderMetrics
from app.routes import order_routes
from app.services.order_service import OrderService
from app.services.pre_order_checks import PreOrderChecks
from app.services.price_validation import PriceValidator
from app.services.recovery import RecoveryLoop
from chassis.app.factory import add_routes, service_app
from chassis.app.health import Dependency, health_router
from chassis.kafka.producer import EventProducer
from chassis.observability.logging import configure_logging
from chassis.observability.metrics import metrics_router, new_registry
from chassis.observability.span_export import configure_tracing, span_export
from chassis.postgres.database import Database
from chassis.postgres.relay import OutboxRelay
from chassis.security.token_verifier import TokenVerifier
from chassis.settings import load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or load_settings(Settings)
    configure_logging(settings.service_name, settings.log_level)
    configure_tracing(settings)
    registry, verifier = new_registry(), TokenVerifier(settings)
    database, metrics = Database(settings, registry), OrderMetrics(registry)
    inventory = InventoryClient(settings.inventory_service_url, registry)
    catalogue = ProductClient(settings.product_service_url, registry)
    checks = PreOrderChecks(inventory, PriceValidator(catalogue, settings, metrics))
    producer = EventProducer.of(settings, settings.service_name, registry)
    relay = OutboxRelay(settings.database_url, producer.send, registry=registry)
    recovery = RecoveryLoop(database, inventory, settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        settings.warn_if_open()
        async with span_export(settings, registry, {"order.number"}), AsyncExitStack() as stack:
            for close in (
                database.close,
                inventory.close,
                catalogue.close,
                verifier.aclose,
                producer.stop,
            ):
                stack.push_async_callback(close)
            await producer.start()  # no peer has to be there yet; all is closed in reverse
            for loop in (relay, recovery):
                stack.push_async_callback(loop.stop)
                loop.start()
            yield

    app = service_app(settings, registry, lifespan)
    app.state.settings, app.state.database, app.state.verifier = settings, database, verifier
    app.state.orders = OrderService(database, inventory, checks, settings, metrics)
    dependencies = (
        Dependency("database", database.ping, critical=True),
        Dependency("inventory-service", inventory.ping),
        Dependency("product-service", catalogue.ping),
        Dependency("kafka", producer.probe),
        Dependency("identity-provider", verifier.probe),
    )
    operations = health_router(settings.service_name, dependencies), metrics_router(registry)
    add_routes(app, order_routes.router, *operations)
    return app


app = create_app()
