"""Build inventory-service: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from app.config import Settings
from app.dependencies import provide
from app.metrics import StockMetrics
from app.path_params import EncodedPaths
from app.routes.inventory_routes import items, movements
from chassis.app.factory import add_routes, service_app
from chassis.app.health import Dependency, health_router
from chassis.kafka.producer import EventProducer
from chassis.observability.logging import configure_logging
from chassis.observability.metrics import metrics_router, new_registry
from chassis.observability.span_export import configure_tracing, span_export
from chassis.postgres.database import Database
from chassis.postgres.relay import OutboxRelay
from chassis.settings import load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or load_settings(Settings)
    configure_logging(settings.service_name, settings.log_level)
    configure_tracing(settings)
    registry = new_registry()
    database = Database(settings, registry)
    producer = EventProducer.of(settings, settings.service_name, registry)
    relay = OutboxRelay(settings.database_url, producer.send, registry=registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:  # neither server has to be there yet
            await stack.enter_async_context(span_export(settings, registry))
            stack.push_async_callback(database.close)
            stack.push_async_callback(producer.stop)
            await producer.start()
            stack.push_async_callback(relay.stop)
            relay.start()
            yield

    app = service_app(settings, registry, lifespan, middleware=[Middleware(EncodedPaths)])
    app.state.database, app.state.metrics = database, StockMetrics(registry)
    provide(app, settings, database, app.state.metrics)
    database_needed = Dependency("database", database.ping, critical=True)
    needs = database_needed, Dependency("kafka", producer.probe)
    operations = health_router(settings.service_name, needs), metrics_router(registry)
    add_routes(app, items, movements, *operations)
    return app


app = create_app()
