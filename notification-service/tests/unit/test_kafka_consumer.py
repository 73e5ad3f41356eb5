"""The consumer group and the delivery log, without a broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from tests.fakes import FakeDeliveryLog, FakeMailer
from tests.samples import TOPICS, encoded, fresh, sample

from app.config import Settings
from app.errors import (
    MailDeferred,
    MailRejected,
    MailServerDown,
    MailServerRefused,
    RecipientRefused,
    ReplyLost,
)
from app.kafka.consumer import build_consumer, subscriptions
from app.kafka.delivery_log import DeliveryLogTopic, SentIds
from app.services.email_service import EmailService
from app.services.email_templates import EmailTemplates
from chassis.kafka.errors import BrokerUnavailable
from chassis.kafka.message_processor import PartitionWorker
from chassis.kafka.producer import EventProducer

SETTINGS = Settings(mail_retry_seconds=0.001)


def record(topic: str, value: bytes | None = None, **fields: Any) -> SimpleNamespace:
    """A message as aiokafka delivers it."""
    defaults: dict[str, Any] = {
        "topic": topic,
        "partition": 0,
        "offset": 40,
        "timestamp": round(time.time() * 1000),
        "key": b"k",
        "value": encoded(fresh(topic)) if value is None else value,
        "headers": (),
    }
    return SimpleNamespace(**defaults | fields)


class FakeProducer:
    """Keeps the published records: topic, key, value, headers."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes | None, bytes | None, dict[str, bytes]]] = []

    async def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
    ) -> None:
        self.published.append((topic, key, value, dict(headers)))

    def topics(self) -> list[str]:
        return [entry[0] for entry in self.published]


class Consumer:
    """The consumer group of this service, with fakes for the mail server and the broker."""

    def __init__(self) -> None:
        self.mailer, self.delivery_log = FakeMailer(), FakeDeliveryLog()
        self.producer, self.registry = FakeProducer(), CollectorRegistry()
        templates = EmailTemplates("shop@example.com", "stock@example.com")
        self.service = EmailService(templates, self.mailer, self.delivery_log, self.registry)
        consumer: Any = build_consumer(
            SETTINGS,
            self.service,
            self.delivery_log,  # type: ignore[arg-type]
            self.producer,  # type: ignore[arg-type]
            self.registry,
        )
        self.group = consumer._group
        self.committed: list[int] = []

    async def commit(self, offset: int) -> None:
        self.committed.append(offset)

    async def process(self, *records: SimpleNamespace) -> None:
        """Process these messages as one partition."""
        worker = PartitionWorker(self.group, self.commit)
        worker.add(records)
        async with asyncio.timeout(10):
            while worker.unfinished and not worker.task.done():
                await asyncio.sleep(0.001)
        worker.close()
        await worker.task

    async def process_retries(self) -> None:
        """Process the messages on the retry topics until none is deferred again."""
        while retries := [entry for entry in self.producer.published if "retry" in entry[0]]:
            self.producer.published = [
                entry for entry in self.producer.published if entry not in retries
            ]
            for topic, key, value, headers in retries:
                await self.process(record(topic, value, key=key, headers=tuple(headers.items())))


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


def test_subscriptions_cover_every_topic_of_the_contract(consumer: Consumer) -> None:
    assert [entry.topic for entry in subscriptions(consumer.service)] == list(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
async def test_message_of_each_topic_is_mailed_then_committed(
    consumer: Consumer, topic: str
) -> None:
    await consumer.process(record(topic))
    (mail,) = consumer.mailer.mails
    assert mail.event_type == sample(topic)["event_type"]
    assert consumer.delivery_log.recorded == [mail.event_id]
    assert consumer.committed == [41]


async def test_repeated_message_is_committed_without_a_second_mail(consumer: Consumer) -> None:
    """Promise 24."""
    message = record("order-placed")
    await consumer.process(message)
    await consumer.process(message)
    assert len(consumer.mailer.mails) == 1
    assert consumer.committed == [41, 41]


async def test_invalid_message_is_a_dead_letter_and_the_next_is_mailed(consumer: Consumer) -> None:
    await consumer.process(record("order-placed", b"no JSON"), record("order-placed", offset=41))
    assert consumer.producer.topics() == ["order-placed.dlq"]
    assert len(consumer.mailer.mails) == 1
    assert consumer.committed[-1] == 42


@pytest.mark.parametrize("error", [RecipientRefused("550 5.1.1"), MailRejected("554 5.7.1")])
async def test_refused_mail_is_a_dead_letter_at_once(consumer: Consumer, error: Exception) -> None:
    consumer.mailer.errors = [error]
    await consumer.process(record("order-placed"))
    ((topic, _, _, headers),) = consumer.producer.published
    assert topic == "order-placed.dlq"
    assert headers["x-error-class"] == type(error).__name__.encode()
    assert headers["x-attempts"] == b"1"
    assert consumer.committed == [41]


async def test_deferred_mail_waits_on_a_retry_topic_and_the_next_is_mailed(
    consumer: Consumer,
) -> None:
    consumer.mailer.errors = [MailDeferred("450 4.7.1")]
    await consumer.process(record("order-placed"), record("order-placed", offset=41))
    assert consumer.producer.topics() == ["mail-retry-1"]
    assert len(consumer.mailer.mails) == 1
    await consumer.process_retries()
    assert len(consumer.mailer.mails) == 2
    assert consumer.producer.published == []


async def test_deferred_mail_climbs_to_the_longest_delay(consumer: Consumer) -> None:
    topics = []
    message = record("order-placed")
    for _ in range(5):
        consumer.mailer.errors = [MailDeferred("450 4.7.1")]
        await consumer.process(message)
        topic, key, value, headers = consumer.producer.published[-1]
        topics.append(topic)
        message = record(topic, value, key=key, headers=tuple(headers.items()))
    assert topics == [f"mail-retry-{number}" for number in (1, 2, 3, 4, 4)]


async def test_mail_that_the_server_as_a_whole_refuses_is_never_a_dead_letter(
    consumer: Consumer,
) -> None:
    """Promise 64."""
    consumer.mailer.errors = [MailServerRefused("550 5.4.5", climb=False)] * 30
    await consumer.process(record("order-placed"))
    await consumer.process_retries()
    assert len(consumer.mailer.mails) == 1
    assert consumer.producer.published == []


async def test_mail_waits_in_its_place_while_the_server_is_down(consumer: Consumer) -> None:
    """Promise 27."""
    consumer.mailer.errors = [MailServerDown("no connection")] * 2
    await consumer.process(record("order-placed"))
    assert consumer.producer.published == []
    assert len(consumer.mailer.mails) == 1
    assert consumer.committed == [41]


async def test_mail_without_a_reply_is_attempted_five_times(consumer: Consumer) -> None:
    consumer.mailer.errors = [ReplyLost("reply lost")] * 9
    await consumer.process(record("order-placed"))
    await consumer.process_retries()
    ((topic, _, _, headers),) = consumer.producer.published
    assert (topic, headers["x-attempts"]) == ("order-placed.dlq", b"5")
    assert len(consumer.mailer.errors) == 4


async def test_unwritten_record_delays_the_commit_and_sends_no_second_mail(
    consumer: Consumer,
) -> None:
    """Promise 24."""
    consumer.delivery_log.errors = [BrokerUnavailable("away")] * 2
    await consumer.process(record("order-placed"))
    assert len(consumer.mailer.mails) == len(consumer.delivery_log.recorded) == 1
    assert consumer.committed == [41]


@pytest.mark.parametrize(("group", "mails"), [("notification-service", 1), ("ai-service", 0)])
async def test_replayed_dead_letter_is_handled_only_by_its_group(
    consumer: Consumer, group: str, mails: int
) -> None:
    await consumer.process(record("order-placed", headers=(("x-replay-group", group.encode()),)))
    assert len(consumer.mailer.mails) == mails
    assert consumer.committed == [41]


# -- the ids in memory


def test_ids_contain_an_added_id() -> None:
    ids, event_id = SentIds(10, 60), uuid4()
    assert event_id not in ids
    ids.add(event_id, time.time())
    assert event_id in ids


def test_ids_drop_the_oldest_when_full() -> None:
    ids, events = SentIds(3, 60), [uuid4() for _ in range(5)]
    for event_id in events:
        ids.add(event_id, time.time())
    assert [event_id in ids for event_id in events] == [False, False, True, True, True]


def test_ids_drop_those_older_than_the_retention_of_the_topic() -> None:
    ids, old, new = SentIds(10, 60), uuid4(), uuid4()
    ids.add(old, time.time() - 59.9)
    assert old in ids
    ids.add(uuid4(), time.time() - 61)
    assert len(ids) == 1, "an id that is too old is not added"
    ids._times[old.bytes] -= 1
    ids.add(new, time.time())
    assert (old in ids, new in ids) == (False, True)


def test_repeated_id_takes_no_further_memory() -> None:
    ids, event_id = SentIds(10, 60), uuid4()
    for _ in range(100):
        ids.add(event_id, time.time())
    assert len(ids) == 1


# -- catching up with mail-sent


class FakeReader:
    """aiokafka's consumer of two partitions, as far as `catch_up` uses it."""

    def __init__(self) -> None:
        self.responses: dict[str, int | None] = {"p0": None, "p1": None}
        self.highwaters = {"p0": 10, "p1": 5}
        self.positions = {"p0": 0, "p1": 5}

    def assignment(self) -> set[str]:
        return set(self.responses)

    def last_poll_timestamp(self, partition: str) -> int | None:
        return self.responses[partition]

    def highwater(self, partition: str) -> int | None:
        return self.highwaters[partition]

    async def position(self, partition: str) -> int:
        return self.positions[partition]

    def respond(self, *partitions: str) -> None:
        for partition in partitions:
            self.responses[partition] = (self.responses[partition] or 0) + 1


class CatchUp:
    """A running call of `catch_up`."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        producer = EventProducer("nowhere:1", "test", idempotence=False, registry=registry)
        self.topic = DeliveryLogTopic(Settings(), producer, registry)
        self.reader = FakeReader()
        self.task = asyncio.create_task(self.topic.catch_up())

    async def is_done(self) -> bool:
        """Return whether it has returned, after time for several checks."""
        await asyncio.wait({self.task}, timeout=0.1)
        return self.task.done()


@pytest.fixture
async def catch_up() -> AsyncIterator[CatchUp]:
    running = CatchUp()
    yield running
    running.task.cancel()


async def test_catch_up_waits_for_two_responses_and_the_high_watermark(catch_up: CatchUp) -> None:
    reader = catch_up.reader
    assert not await catch_up.is_done(), "no broker yet"
    catch_up.topic._consumer = reader
    assert not await catch_up.is_done(), "no response yet"
    reader.respond("p0", "p1")
    assert not await catch_up.is_done(), "the response may belong to an earlier fetch"
    reader.respond("p0")
    assert not await catch_up.is_done(), "p1 has not responded again"
    reader.respond("p1")
    assert not await catch_up.is_done(), "p0 is read to 0 of 10"
    reader.positions["p0"] = 9
    assert not await catch_up.is_done()
    reader.positions["p0"] = 10
    assert await catch_up.is_done()


async def test_catch_up_starts_again_after_a_reconnect(catch_up: CatchUp) -> None:
    catch_up.topic._consumer = catch_up.reader
    catch_up.reader.respond("p0", "p1")
    catch_up.topic._consumer = None
    assert not await catch_up.is_done()
    catch_up.topic._consumer = again = FakeReader()
    again.positions["p0"] = 10
    for _ in range(2):
        assert not await catch_up.is_done()
        again.respond("p0", "p1")
    assert await catch_up.is_done()
