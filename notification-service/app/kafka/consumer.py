"""Who handles which topic. A handler is a route with another wire: one call of the service."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from app.config import Settings
from app.events import AiNotificationReady, InventoryLow, OrderCancelled, OrderPlaced
from app.kafka.delivery_log import SentMailsTopic
from app.services.notification_service import NotificationService
from chassis.kafka.consumer import EventConsumer
from chassis.kafka.message_processor import Subscription
from chassis.kafka.producer import EventProducer
from chassis.kafka.retry_topics import RetryTopics


def subscriptions(service: NotificationService) -> Sequence[Subscription[Any]]:
    return (
        Subscription("order-placed", OrderPlaced, service.order_placed),
        Subscription("order-cancelled", OrderCancelled, service.order_cancelled),
        Subscription("inventory-low", InventoryLow, service.inventory_low),
        Subscription("ai-notification-ready", AiNotificationReady, service.ai_follow_up),
    )


def build_consumer(
    settings: Settings,
    service: NotificationService,
    sent: SentMailsTopic,
    producer: EventProducer,
    registry: CollectorRegistry,
) -> EventConsumer:
    """The group `notification-service`: an event goes to one of its replicas."""
    return EventConsumer(
        settings.kafka_bootstrap_servers,
        settings.service_name,
        subscriptions(service),
        publish=producer.publish,
        registry=registry,
        on_assigned=sent.catch_up,
        session=settings.kafka_session_seconds,
        retries=RetryTopics(
            ("mail-retry-1", "mail-retry-2", "mail-retry-3", "mail-retry-4"),
            producer.publish,
            first_delay=settings.mail_retry_seconds,
            max_age=timedelta(hours=settings.mail_retry_hours),
        ),
    )
