"""The one producer of this service. Only the outbox relay sends by it, never a request."""

from prometheus_client import CollectorRegistry

from app.config import Settings
from chassis.kafka.producer import EventProducer


def event_producer(settings: Settings, registry: CollectorRegistry) -> EventProducer:
    return EventProducer(
        settings.kafka_bootstrap_servers,
        settings.service_name,
        idempotence=settings.kafka_enable_idempotence,
        registry=registry,
    )
