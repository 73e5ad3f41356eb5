"""inventory-service, put together: `uvicorn app.main:create_app --factory`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app.config import Settings
from app.dependencies import provide
from app.metrics import StockMetrics
from app.parameters import EncodedPaths
from app.routes.inventory_routes import items, movements
from chassis.database import Database
from chassis.docs import install_docs
from chassis.health import Dependency, health_router
from chassis.kafka.producer import EventProducer
from chassis.logging import configure_logging
from chassis.metrics import metrics_router, new_registry
from chassis.middleware import RequestMiddleware
from chassis.problems import install_problem_handlers
from chassis.relay import OutboxRelay
from chassis.telemetry import exported_spans


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or Settings()
    configure_logging(settings.service_name, settings.log_level)
    registry = new_registry()
    database = Database(settings, registry)
    producer = EventProducer.of(settings, settings.service_name, registry)
    relay = OutboxRelay(settings.database_url, producer.send, registry=registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:  # neither server has to be there yet
            await stack.enter_async_context(exported_spans(settings, registry))
            stack.push_async_callback(database.close)
            await database.open()
            stack.push_async_callback(producer.stop)
            await producer.start()
            stack.push_async_callback(relay.stop)
            relay.start()
            yield

    app = FastAPI(
        title="inventory-service",
        version="1.0.0",
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would name this service's own host
    )
    app.state.database, app.state.metrics = database, StockMetrics(registry)
    provide(app, settings, database, app.state.metrics)
    app.add_middleware(EncodedPaths)
    app.add_middleware(RequestMiddleware, registry=registry, max_body_bytes=settings.max_body_bytes)
    install_problem_handlers(app)
    install_docs(app)
    database_needed = Dependency("database", database.ping, critical=True)
    needs = database_needed, Dependency("kafka", producer.probe)
    # As routes of the app itself, and its first: each that is tried before costs, and FastAPI looks
    # up one of an included router twice.
    app.router.routes[:0] = [*items.routes, *movements.routes]
    for operations in (health_router(settings.service_name, needs), metrics_router(registry)):
        app.include_router(operations)
    return app
