"""order-service places orders and follows them to the door."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.clients.inventory_client import InventoryClient
from app.config import Settings
from app.metrics import OrderMetrics
from app.routes import order_routes
from app.services.order_service import OrderCancelling
from app.services.placing import OrderPlacing
from app.services.recovery import RecoveryLoop
from chassis.auth import TokenVerifier
from chassis.database import Database
from chassis.health import Dependency, health_router
from chassis.kafka.producer import EventProducer
from chassis.logging import configure_logging
from chassis.metrics import metrics_router, new_registry
from chassis.middleware import RequestMiddleware
from chassis.problems import install_problem_handlers
from chassis.relay import OutboxRelay


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or Settings()
    configure_logging(settings.service_name, settings.log_level)
    registry = new_registry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await open_resources(app, settings, registry, stack)
            yield

    app = FastAPI(title="order-service", version="0.1.0", description=__doc__, lifespan=lifespan)
    app.state.settings = settings
    app.add_middleware(RequestMiddleware, registry=registry, max_body_bytes=settings.max_body_bytes)
    install_problem_handlers(app)
    app.include_router(order_routes.router)
    app.include_router(health_router(settings.service_name, dependencies(app)))
    app.include_router(metrics_router(registry))
    return app


async def open_resources(
    app: FastAPI, settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack
) -> None:
    """Build each resource; the stack closes them in reverse. None of them waits for its peer."""
    state = app.state
    metrics = OrderMetrics(registry)
    state.verifier = TokenVerifier(settings)
    stack.push_async_callback(state.verifier.aclose)
    state.database = Database(settings)
    stack.push_async_callback(state.database.close)
    state.inventory = InventoryClient(settings.inventory_service_url, registry)
    stack.push_async_callback(state.inventory.close)
    state.producer = EventProducer(
        settings.kafka_bootstrap_servers,
        settings.service_name,
        idempotence=settings.kafka_enable_idempotence,
        registry=registry,
    )
    await state.producer.start()
    stack.push_async_callback(state.producer.stop)
    relay = OutboxRelay(settings.database_url, state.producer.send, registry=registry)
    relay.start()
    stack.push_async_callback(relay.stop)
    recovery = RecoveryLoop(state.database, state.inventory, settings, metrics)
    recovery.start()
    stack.push_async_callback(recovery.stop)
    state.placing = OrderPlacing(state.database, state.inventory, settings, metrics)
    state.cancelling = OrderCancelling(state.database, state.inventory, settings)


def dependencies(app: FastAPI) -> tuple[Dependency, ...]:
    """Rows of /health/ready. Only the own database is critical: see architecture decision 15."""
    return (
        Dependency("database", lambda: app.state.database.ping(), critical=True),
        Dependency("inventory-service", lambda: app.state.inventory.ping()),
        Dependency("kafka", lambda: app.state.producer.probe()),
    )
