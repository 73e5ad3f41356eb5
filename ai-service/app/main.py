"""ASGI application of ai-service: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app.clients.catalogue_client import CatalogueClient
from app.clients.model_client import ModelClient
from app.config import Settings
from app.dependencies import dependencies, model_rate_limiter
from app.kafka.consumer import build_consumer
from app.kafka.order_history import OrderHistory
from app.retrieval.language import load_languages
from app.routes import ai_routes
from app.services.assistant import Assistant
from app.services.catalogue import LiveCatalogue
from app.services.follow_up import FollowUps
from app.services.recommender import Recommender
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
    registry = new_registry()
    languages = load_languages()
    catalogue_client = CatalogueClient(settings, registry)
    model = ModelClient(settings, registry)
    catalogue = LiveCatalogue(catalogue_client, languages, registry, settings)
    history = OrderHistory(settings, registry)
    recommender = Recommender(history.co_purchases)
    producer = EventProducer.of(settings, settings.service_name, registry)
    follow_ups = FollowUps(
        catalogue, recommender, model, languages, producer.send, registry, settings
    )
    consumer = build_consumer(settings, follow_ups, producer, registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with span_export(settings, registry), AsyncExitStack() as stack:
            # The timeouts keep shutdown below 10 s even if the broker is down.
            stack.push_async_callback(catalogue_client.close)
            stack.push_async_callback(model.close)
            stack.push_async_callback(producer.stop, timeout=1.0)
            await producer.start()
            stack.push_async_callback(catalogue.stop, timeout=1.0)
            catalogue.start()
            stack.push_async_callback(history.stop, timeout=1.0)
            history.start()
            stack.push_async_callback(consumer.stop, timeout=6.0)
            consumer.start()
            yield

    app = service_app(settings, registry, lifespan)
    app.state.catalogue = catalogue
    app.state.model = model
    app.state.consumer = consumer
    app.state.recommender = recommender
    app.state.may_use_model = model_rate_limiter(settings)
    app.state.assistant = Assistant(catalogue, model, languages, registry, settings)
    add_routes(
        app,
        ai_routes.router,
        health_router(settings.service_name, dependencies(app)),
        metrics_router(registry),
    )
    return app


app = create_app()
