"""Kafka consumer of order-placed. A handler makes one call of the service, as a route does."""

from prometheus_client import CollectorRegistry

from app.config import Settings
from app.events import ORDER_PLACED, OrderPlaced
from app.services.follow_up import FollowUps
from chassis.kafka.consumer import EventConsumer
from chassis.kafka.message_processor import Subscription
from chassis.kafka.producer import EventProducer


def subscription(follow_ups: FollowUps) -> Subscription[OrderPlaced]:
    return Subscription(ORDER_PLACED, OrderPlaced, follow_ups.order_placed)


def build_consumer(
    settings: Settings,
    follow_ups: FollowUps,
    producer: EventProducer,
    registry: CollectorRegistry,
) -> EventConsumer:
    """Build the consumer of the group `ai-service`: one replica handles each order."""
    return EventConsumer(
        settings.kafka_bootstrap_servers,
        settings.service_name,
        [subscription(follow_ups)],
        publish=producer.publish,
        registry=registry,
        session=settings.kafka_session_seconds,
    )
