"""A Kafka producer whose records are acknowledged by every in-sync replica."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    RecordListTooLargeError,
    UnknownProducerId,
)
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge

from chassis.backoff import RetryPolicy
from chassis.kafka.errors import BrokerUnavailable, Unsendable
from chassis.observability.tracing import span, traceparent
from chassis.settings import KafkaSettings

log = logging.getLogger(__name__)

_NEVER = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError, TypeError)
_FATAL = (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
)


def _is_fatal(error: KafkaError) -> bool:
    """True if the producer will never send again: its sequence is lost or its sender task is dead.

    aiokafka reports a dead sender as a bare KafkaError; what is transient has a class of its own.
    """
    return isinstance(error, _FATAL) or type(error) is KafkaError


_Headers = Sequence[tuple[str, bytes]]


def _span_attributes(topic: str) -> dict[str, str]:
    return {"messaging.system": "kafka", "messaging.destination.name": topic}


def _with_trace_context(headers: _Headers) -> _Headers:
    """Name the current span as the parent of the record's processing."""
    parent = traceparent()
    if parent is None:
        return headers
    others = [pair for pair in headers if pair[0] != "traceparent"]
    return [*others, ("traceparent", parent.encode("ascii"))]


class _Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.sent = Counter(
            "kafka_producer_sent", "Records acknowledged", ["topic"], registry=registry
        )
        self.failed = Counter(
            "kafka_producer_failed", "Sends that failed", ["topic", "error"], registry=registry
        )
        self.connected = Gauge(
            "kafka_producer_connected", "1 once connected to the broker", registry=registry
        )


class EventProducer:
    """Sends records. Connects in the background, and reconnects after fatal errors.

    Args:
        bootstrap_servers: `host:port`, several separated by commas.
        client_id: the name of this service in the broker's logs.
        idempotence: the broker drops duplicates that retries send. Such a producer retries without
            a limit; without idempotence a send fails after `request_timeout`.
        request_timeout: seconds.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        client_id: str,
        *,
        idempotence: bool,
        registry: CollectorRegistry,
        request_timeout: float = 30.0,
    ) -> None:
        self._options: dict[str, Any] = {
            "bootstrap_servers": bootstrap_servers,
            "client_id": client_id,
            "acks": "all",
            "enable_idempotence": idempotence,
            "request_timeout_ms": round(request_timeout * 1000),
            "retry_backoff_ms": 250,
        }
        self._metrics = _Metrics(registry)
        self._backoff = RetryPolicy(backoff=0.25)
        self._producer: Any = None
        self._settled = asyncio.Event()  # connected, or stopped
        self._stopped = False
        self._connecting: asyncio.Task[None] | None = None
        self._retired: set[asyncio.Task[None]] = set()

    @classmethod
    def of(
        cls, settings: KafkaSettings, client_id: str, registry: CollectorRegistry
    ) -> "EventProducer":
        """Return the producer for a service's settings."""
        return cls(
            settings.kafka_bootstrap_servers,
            client_id,
            idempotence=settings.kafka_enable_idempotence,
            registry=registry,
        )

    @property
    def connected(self) -> bool:
        """True if a connection was made and no fatal error followed; `probe` asks the broker."""
        return self._producer is not None

    async def probe(self) -> None:
        """Check for readiness: raise unless the broker responds. The caller sets a timeout."""
        if self._producer is None:
            raise BrokerUnavailable("not connected yet")
        await self._producer.client.fetch_all_metadata()

    async def start(self) -> None:
        """Start connecting in the background. The broker may still be unavailable."""
        self._connecting = asyncio.create_task(self._connect(), name="kafka-producer-connect")

    async def send(self, topic: str, key: str, value: bytes, headers: Mapping[str, str]) -> None:
        """Return when the broker has acknowledged this record.

        Await one send before the next of the same key; concurrent sends may be reordered.

        Raises:
            Unsendable: this record can never be sent.
            BrokerUnavailable: it was not acknowledged; it may have arrived.
        """
        try:
            pairs = [(name, text.encode()) for name, text in headers.items()]
            encoded_key = key.encode()
        except UnicodeEncodeError:
            raise Unsendable("the key or a header is not text in UTF-8") from None
        await self.publish(topic, encoded_key, value, pairs)

    async def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: _Headers,
    ) -> None:
        """Like `send`, with encoded key and headers.

        Within a trace, the record's parent is the span of this send.
        """
        with span(f"send {topic}", SpanKind.PRODUCER, _span_attributes(topic)):
            await self._acknowledged(topic, key, value, _with_trace_context(headers))

    async def _acknowledged(
        self, topic: str, key: bytes | None, value: bytes | None, headers: _Headers
    ) -> None:
        await self._settled.wait()
        producer = self._producer
        if producer is None:
            raise BrokerUnavailable("the producer has been stopped")
        try:
            acknowledged = await producer.send(topic, value, key, headers=list(headers))
            await acknowledged
        except _NEVER as error:
            self._metrics.failed.labels(topic, type(error).__name__).inc()
            raise Unsendable(type(error).__name__) from error
        except KafkaError as error:
            self._metrics.failed.labels(topic, type(error).__name__).inc()
            if _is_fatal(error):
                self._replace(producer, error)
            raise BrokerUnavailable(type(error).__name__) from error
        self._metrics.sent.labels(topic).inc()

    async def stop(self, timeout: float = 5.0) -> None:
        """Send the accepted records and disconnect, within `timeout` seconds."""
        self._stopped = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._producer is not None:
            self._retire(self._producer)
        self._producer = None
        self._metrics.connected.set(0)
        self._settled.set()  # ends the sends that wait for a connection
        if self._retired:
            _, unfinished = await asyncio.wait(set(self._retired), timeout=timeout)
            if unfinished:
                log.warning(
                    "producer stopped without sending all records: the broker is unavailable"
                )

    async def _connect(self) -> None:
        for attempt in count(1):
            producer = AIOKafkaProducer(**self._options)
            try:
                await producer.start()
            except asyncio.CancelledError:
                self._retire(producer)
                raise
            except Exception as error:  # of any kind: keep trying to connect
                log.warning("no connection to Kafka yet", extra={"error": type(error).__name__})
                self._retire(producer)
                await asyncio.sleep(self._backoff.delay(attempt))
            else:
                self._producer = producer
                self._metrics.connected.set(1)
                self._settled.set()
                return

    def _replace(self, broken: Any, error: KafkaError) -> None:
        """Reconnect after a fatal error, once, even if several sends report it."""
        if broken is not self._producer or self._stopped:
            return
        log.error(
            "replacing the producer after a fatal error", extra={"error": type(error).__name__}
        )
        self._settled.clear()
        self._producer = None
        self._metrics.connected.set(0)
        self._retire(broken)
        self._connecting = asyncio.create_task(self._connect(), name="kafka-producer-connect")

    def _retire(self, producer: Any) -> None:
        """Stop a producer in the background: its stop() waits for an unavailable broker."""
        task = asyncio.create_task(_end(producer), name="kafka-producer-end")
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)


async def _end(producer: Any) -> None:
    try:
        await producer.stop()
    except Exception as error:  # a failed sender raises its error again
        log.info("producer failed to stop", extra={"error": type(error).__name__})
