"""Build ai-service: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app.clients.catalogue_client import CatalogueClient
from app.clients.model_client import ModelClient
from app.config import Settings
from app.dependencies import dependencies, model_budget
from app.kafka.consumer import build_consumer
from app.kafka.order_history import OrderHistory
from app.retrieval.language import load_languages
from app.routes import ai_routes
from app.services.assistant import Assistant
from app.services.catalogue import LiveCatalogue
from app.services.follow_up import FollowUps
from app.services.recommending import Recommending
from chassis.app.factory import add_routes, service_app
from chassis.app.health import health_router
from chassis.kafka.producer import EventProducer
from chassis.observability.logging import configure_logging
from chassis.observability.metrics import metrics_router, new_registry
from chassis.observability.span_export import configure_tracing, span_export
from chassis.settings import load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or load_settings(Settings)
    configure_logging(settings.service_name, settings.log_level)
    configure_tracing(settings)
    registry, languages = new_registry(), load_languages()
    products, model = CatalogueClient(settings, registry), ModelClient(settings, registry)
    catalogue = LiveCatalogue(products, languages, registry, settings)
    history = OrderHistory(settings, registry)
    recommending = Recommending(history.habits)
    producer = EventProducer.of(settings, settings.service_name, registry)
    ready = FollowUps(catalogue, recommending, model, languages, producer.send, registry, settings)
    consumer = build_consumer(settings, ready, producer, registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with span_export(settings, registry), AsyncExitStack() as stack:
            stack.push_async_callback(products.close)  # in reverse, within 10 s, broker or not
            stack.push_async_callback(model.close)
            stack.push_async_callback(producer.stop, timeout=1.0)
            await producer.start()
            for loop, seconds in ((catalogue, 1.0), (history, 1.0), (consumer, 6.0)):
                stack.push_async_callback(loop.stop, timeout=seconds)
                loop.start()
            yield

    app = service_app(settings, registry, lifespan)
    app.state.catalogue, app.state.model, app.state.consumer = catalogue, model, consumer
    app.state.recommending, app.state.may_ask = recommending, model_budget(settings)
    app.state.assistant = Assistant(catalogue, model, languages, registry, settings)
    operations = health_router(settings.service_name, dependencies(app)), metrics_router(registry)
    add_routes(app, ai_routes.router, *operations)
    return app


app = create_app()
