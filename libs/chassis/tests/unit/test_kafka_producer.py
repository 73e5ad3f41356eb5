"""EventProducer on a fake of AIOKafkaProducer; tests/integration has the real broker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    OutOfOrderSequenceNumber,
)
from prometheus_client import CollectorRegistry

from chassis.kafka import producer as module
from chassis.kafka.errors import BrokerUnavailable, DependencyDown, Unsendable
from chassis.kafka.producer import EventProducer


class FakeAiokafka:
    """Fake AIOKafkaProducer; `starts` and `sends` are the errors of its next starts and sends."""

    made: list["FakeAiokafka"]
    starts: list[Exception]
    sends: list[Exception]
    stop_hangs = False

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.stopped = False
        self.sent: list[Any] = []
        self.made.append(self)

    async def start(self) -> None:
        if self.starts:
            raise self.starts.pop(0)

    async def send(self, topic: str, value: bytes, key: bytes, headers: Any) -> Any:
        await asyncio.sleep(0)  # like the real producer, yield to other tasks
        future = asyncio.get_running_loop().create_future()
        if self.sends:
            future.set_exception(self.sends.pop(0))
        else:
            self.sent.append((topic, key, value, headers))
            future.set_result(None)
        return future

    async def stop(self) -> None:
        self.stopped = True
        if self.stop_hangs:
            await asyncio.Event().wait()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeAiokafka]:
    class Fake(FakeAiokafka):
        made: list[FakeAiokafka] = []  # noqa: RUF012  one class for each test
        starts: list[Exception] = []  # noqa: RUF012
        sends: list[Exception] = []  # noqa: RUF012

    monkeypatch.setattr(module, "AIOKafkaProducer", Fake)
    return Fake


@pytest.fixture
async def producer(fake: type[FakeAiokafka]) -> AsyncIterator[EventProducer]:
    producer = EventProducer("nowhere:1", "test", idempotence=True, registry=CollectorRegistry())
    await producer.start()
    yield producer
    await producer.stop(timeout=0.1)


async def send(producer: EventProducer, value: bytes = b"1") -> None:
    await producer.send("topic", "key", value, {"traceparent": "00-..."})


async def test_record_is_sent_with_acks_all_and_its_headers(
    fake: type[FakeAiokafka], producer: EventProducer
) -> None:
    await send(producer)
    assert fake.made[0].sent == [("topic", b"key", b"1", [("traceparent", b"00-...")])]
    assert fake.made[0].options["acks"] == "all"
    assert fake.made[0].options["enable_idempotence"] is True


async def test_sends_wait_until_the_broker_is_available(fake: type[FakeAiokafka]) -> None:
    fake.starts += [KafkaConnectionError(), OSError()]
    producer = EventProducer("nowhere:1", "test", idempotence=True, registry=CollectorRegistry())
    await producer.start()
    with pytest.raises(BrokerUnavailable):
        await producer.probe()
    await send(producer)
    assert producer.connected
    assert len(fake.made) == 3
    await producer.stop()


@pytest.mark.parametrize(
    "fatal", [OutOfOrderSequenceNumber(), KafkaError("Unexpected error during batch delivery")]
)
async def test_fatal_error_replaces_the_producer_once(
    fake: type[FakeAiokafka], producer: EventProducer, fatal: KafkaError
) -> None:
    """aiokafka #1017: after such an error the producer fails every record."""
    await send(producer)
    fake.sends += [fatal, fatal]
    failures = await asyncio.gather(send(producer), send(producer), return_exceptions=True)
    assert [type(failure) for failure in failures] == [BrokerUnavailable] * 2
    await send(producer, b"2")
    assert len(fake.made) == 2
    assert fake.made[0].stopped
    assert fake.made[1].sent[0][2] == b"2"


async def test_transient_failure_keeps_the_producer(
    fake: type[FakeAiokafka], producer: EventProducer
) -> None:
    fake.sends += [NodeNotReadyError()]
    with pytest.raises(BrokerUnavailable):
        await send(producer)
    await send(producer)
    assert len(fake.made) == 1


async def test_invalid_record_is_unsendable(
    fake: type[FakeAiokafka], producer: EventProducer
) -> None:
    fake.sends += [MessageSizeTooLargeError()]
    with pytest.raises(Unsendable, match="MessageSizeTooLargeError"):
        await send(producer)
    with pytest.raises(Unsendable, match="UTF-8"):
        await producer.send("topic", "\ud800", b"1", {})


async def test_stop_is_bounded_and_releases_waiting_senders(fake: type[FakeAiokafka]) -> None:
    fake.stop_hangs = True
    fake.starts += [KafkaConnectionError()] * 1_000
    producer = EventProducer("nowhere:1", "test", idempotence=True, registry=CollectorRegistry())
    await producer.start()
    waiting = asyncio.create_task(send(producer))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await producer.stop(timeout=0.05)
        with pytest.raises(BrokerUnavailable):
            await waiting


def test_publish_failure_in_a_handler_is_dependency_down() -> None:
    """For a consumer, a broker that does not acknowledge is an unavailable dependency."""
    assert issubclass(BrokerUnavailable, DependencyDown)
