"""The consumer group: which method of the service handles which topic."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from app.config import Settings
from app.events import AiNotificationReady, InventoryLow, OrderCancelled, OrderPlaced
from app.kafka.delivery_log import DeliveryLogTopic
from app.services.email_service import EmailService
from chassis.kafka.consumer import EventConsumer
from chassis.kafka.message_processor import Subscription
from chassis.kafka.producer import EventProducer
from chassis.kafka.retry_topics import RetryTopics


def subscriptions(service: EmailService) -> Sequence[Subscription[Any]]:
    return (
        Subscription("order-placed", OrderPlaced, service.send_order_confirmation),
        Subscription("order-cancelled", OrderCancelled, service.send_order_cancellation),
        Subscription("inventory-low", InventoryLow, service.send_low_stock_alert),
        Subscription("ai-notification-ready", AiNotificationReady, service.send_follow_up),
    )


def build_consumer(
    settings: Settings,
    service: EmailService,
    delivery_log: DeliveryLogTopic,
    producer: EventProducer,
    registry: CollectorRegistry,
) -> EventConsumer:
    """Return the consumer of the group `notification-service`."""
    return EventConsumer(
        settings.kafka_bootstrap_servers,
        settings.service_name,
        subscriptions(service),
        publish=producer.publish,
        registry=registry,
        on_assigned=delivery_log.catch_up,
        session=settings.kafka_session_seconds,
        retries=RetryTopics(
            ("mail-retry-1", "mail-retry-2", "mail-retry-3", "mail-retry-4"),
            producer.publish,
            first_delay=settings.mail_retry_seconds,
            max_age=timedelta(hours=settings.mail_retry_hours),
        ),
    )
