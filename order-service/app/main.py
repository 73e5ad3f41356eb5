"""Build order-service: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app.clients.peers import Peers
from app.config import Settings
from app.metrics import OrderMetrics
from app.routes import order_routes
from app.services.order_service import OrderCancelling
from app.services.placing import OrderPlacing
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
    peers = Peers.of(settings, registry)
    producer = EventProducer.of(settings, settings.service_name, registry)
    relay = OutboxRelay(settings.database_url, producer.send, registry=registry)
    recovery = RecoveryLoop(database, peers.inventory, settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        settings.warn_if_open()
        async with span_export(settings, registry, {"order.number"}), AsyncExitStack() as stack:
            for resource in (database.close, peers.close, verifier.aclose, producer.stop):
                stack.push_async_callback(resource)
            await producer.start()  # no peer has to be there yet; all is closed in reverse
            for loop in (relay, recovery):
                stack.push_async_callback(loop.stop)
                loop.start()
            yield

    app = service_app(settings, registry, lifespan)
    app.state.settings, app.state.database, app.state.verifier = settings, database, verifier
    app.state.placing = OrderPlacing(database, peers, settings, metrics)
    app.state.cancelling = OrderCancelling(database, peers.inventory, settings)
    critical = Dependency("database", database.ping, critical=True)
    others = Dependency("kafka", producer.probe), Dependency("identity-provider", verifier.probe)
    needs = critical, *peers.needs, *others
    operations = health_router(settings.service_name, needs), metrics_router(registry)
    add_routes(app, order_routes.router, *operations)
    return app


app = create_app()
