"""notification-service sends mails about orders and stock. It serves only operational endpoints."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.clients.smtp_client import mailer
from app.config import Settings
from app.dependencies import dependencies
from app.kafka.consumer import build_consumer
from app.kafka.delivery_log import DeliveryLogTopic
from app.services.email_service import EmailService
from app.services.email_templates import EmailTemplates
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

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await open_resources(app, settings, registry, stack)
            yield

    app = service_app(settings, registry, lifespan, version="0.1.0", description=__doc__)
    operations = health_router(settings.service_name, dependencies(app)), metrics_router(registry)
    add_routes(app, *operations)
    return app


async def open_resources(
    app: FastAPI, settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack
) -> None:
    """Open each resource. The stack closes them in reverse, within 10 s even without a broker."""
    state = app.state
    await stack.enter_async_context(span_export(settings, registry))
    state.mailer = mailer(settings, registry)
    stack.push_async_callback(state.mailer.close)
    producer = EventProducer.of(settings, settings.service_name, registry)
    await producer.start()
    stack.push_async_callback(producer.stop, timeout=1.0)
    delivery_log = DeliveryLogTopic(settings, producer, registry)
    delivery_log.start()
    stack.push_async_callback(delivery_log.stop)
    templates = EmailTemplates(settings.mail_from, settings.alert_email)
    service = EmailService(templates, state.mailer, delivery_log, registry)
    state.consumer = build_consumer(settings, service, delivery_log, producer, registry)
    state.consumer.start()
    stack.push_async_callback(state.consumer.stop, timeout=6.0)


app = create_app()
