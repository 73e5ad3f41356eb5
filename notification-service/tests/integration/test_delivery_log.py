"""The delivery log on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry
from tests.fakes import FakeMailer
from tests.samples import TOPICS, fresh

from app.config import Settings
from app.kafka.consumer import build_consumer
from app.kafka.delivery_log import TOPIC, DeliveryLogTopic
from app.services.email_service import EmailService
from app.services.email_templates import EmailTemplates
from chassis.kafka.errors import BrokerUnavailable
from chassis.kafka.producer import EventProducer
from tests.conftest import Wire, until


@pytest.fixture
def settings(kafka_bootstrap: str) -> Settings:
    return Settings(
        service_name=f"notification-{uuid4()}",
        kafka_bootstrap_servers=kafka_bootstrap,
        kafka_enable_idempotence=False,
        kafka_session_seconds=6,
    )


class Memory:
    """The delivery log of one replica, with its own producer."""

    def __init__(self, settings: Settings) -> None:
        registry = CollectorRegistry()
        self.producer = EventProducer(
            settings.kafka_bootstrap_servers, "test", idempotence=False, registry=registry
        )
        self.topic = DeliveryLogTopic(settings, self.producer, registry)

    async def start(self) -> None:
        await self.producer.start()
        self.topic.start()

    async def mailed(self, event_id: UUID) -> None:
        self.topic.add(event_id, "ORDER_PLACED")
        await self.topic.flush()

    async def stop(self) -> None:
        await self.topic.stop()
        await self.producer.stop()


@pytest.fixture
async def mine(settings: Settings) -> AsyncIterator[Memory]:
    memory = Memory(settings)
    await memory.start()
    yield memory
    await memory.stop()


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Memory]:
    memory = Memory(settings)
    await memory.start()
    yield memory
    await memory.stop()


async def test_catch_up_reads_every_record_acknowledged_before(mine: Memory, other: Memory) -> None:
    """Promise 24: includes the last mails of a partition's former owner."""
    for _ in range(15):
        event_id = uuid4()
        await other.mailed(event_id)
        await mine.topic.catch_up()
        assert mine.topic.contains(event_id)


async def test_catch_up_of_a_new_replica_reads_the_whole_topic(
    settings: Settings, wire: Wire
) -> None:
    """Also records written together, which the embedded broker's "latest offset" omits."""
    ids = [uuid4() for _ in range(600)]
    large = b" " * 5_000  # several fetches long
    await asyncio.gather(*(wire.publish_raw(TOPIC, str(event_id), large) for event_id in ids))
    memory = Memory(settings)
    await memory.start()
    await memory.topic.catch_up()
    assert all(memory.topic.contains(event_id) for event_id in ids)
    await memory.stop()


async def test_record_without_an_event_id_is_skipped(mine: Memory, wire: Wire) -> None:
    await wire.publish_raw(TOPIC, "nonsense", b"{}")
    event_id = uuid4()
    await wire.publish_raw(TOPIC, str(event_id), b"not even JSON")
    await mine.topic.catch_up()
    assert mine.topic.contains(event_id)


async def test_record_stays_unwritten_until_the_broker_acknowledges_it(settings: Settings) -> None:
    memory = Memory(settings)
    event_id = uuid4()
    await memory.producer.start()
    await memory.producer.stop()
    with pytest.raises(BrokerUnavailable):
        await memory.mailed(event_id)
    assert memory.topic.contains(event_id)
    with pytest.raises(BrokerUnavailable):
        await memory.topic.flush()


async def test_no_event_is_handled_before_catch_up_returns(settings: Settings, wire: Wire) -> None:
    """Promise 24: partitions are assigned before the replica has read mail-sent."""
    batch = [(topic, fresh(topic)) for topic in TOPICS]
    for topic, event in batch:
        await wire.publish_raw(TOPIC, event["event_id"], b"{}")
        await wire.publish(topic, event)
    registry, mailer = CollectorRegistry(), FakeMailer()
    memory = Memory(settings)
    await memory.producer.start()
    templates = EmailTemplates(settings.mail_from, settings.alert_email)
    service = EmailService(templates, mailer, memory.topic, registry)
    consumer = build_consumer(settings, service, memory.topic, memory.producer, registry)
    consumer.start()
    await until(lambda: bool(consumer._consumer and consumer._consumer.assignment()), what="joined")
    memory.topic.start()
    unknown = fresh("order-placed")
    await wire.publish("order-placed", unknown)
    await until(lambda: any(str(mail.event_id) == unknown["event_id"] for mail in mailer.mails))
    mailed = {str(mail.event_id) for mail in mailer.mails}
    await consumer.stop()
    await memory.stop()
    assert not mailed & {event["event_id"] for _, event in batch}
