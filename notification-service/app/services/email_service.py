"""Send one mail for each event, and record it in the delivery log."""

import logging
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.events import AiNotificationReady, InventoryLow, OrderCancelled, OrderPlaced
from app.mail import Mail
from app.services.email_templates import EmailTemplates
from app.services.priority_lock import PriorityLock
from chassis.failpoints import reach
from chassis.kafka.events import Envelope

log = logging.getLogger(__name__)


class Mailer(Protocol):
    async def send(self, mail: Mail) -> None:
        """Return when the mail server has accepted the mail; raise one of app.errors."""


class DeliveryLog(Protocol):
    def contains(self, event_id: UUID) -> bool:
        """Return True if the event's mail was sent, as far as this replica knows."""

    def add(self, event_id: UUID, event_type: str) -> None:
        """Add a mail that this process has just sent; `flush` writes the record."""

    async def flush(self) -> None:
        """Write the records that are not written yet; raise BrokerUnavailable on failure."""


class EmailService:
    """Sends the mails that the events require.

    Args:
        templates: composes the mails.
        mailer: delivers them.
        delivery_log: records them for all replicas, across restarts.
    """

    def __init__(
        self,
        templates: EmailTemplates,
        mailer: Mailer,
        delivery_log: DeliveryLog,
        registry: CollectorRegistry,
    ) -> None:
        self._templates = templates
        self._mailer = mailer
        self._delivery_log = delivery_log
        self._lock = PriorityLock()
        self._sent = Counter("mails_sent", "Mails sent", ["event_type"], registry=registry)
        self._skipped = Counter(
            "mails_skipped",
            "Events whose mail was already sent",
            ["event_type"],
            registry=registry,
        )
        self._delay = Histogram(
            "mail_delay_seconds",
            "Time from an event's timestamp to its mail",
            ["event_type"],
            buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
            registry=registry,
        )

    async def send_order_confirmation(self, event: OrderPlaced) -> None:
        await self._send(event, self._templates.order_confirmation(event))

    async def send_order_cancellation(self, event: OrderCancelled) -> None:
        await self._send(event, self._templates.order_cancellation(event))

    async def send_low_stock_alert(self, event: InventoryLow) -> None:
        await self._send(event, self._templates.low_stock_alert(event))

    async def send_follow_up(self, event: AiNotificationReady) -> None:
        await self._send(event, self._templates.follow_up(event), urgent=False)

    async def _send(self, event: Envelope, mail: Mail, *, urgent: bool = True) -> None:
        """Send the mail and record it; the caller commits the offset afterwards.

        The lock allows one mail at a time, and none before the previous one is recorded. So a crash
        between acceptance and record duplicates at most one mail (ADR 17). Follow-ups wait while
        other mails do.
        """
        async with self._lock.hold(urgent=urgent):
            await self._delivery_log.flush()
            if self._delivery_log.contains(mail.event_id):
                self._skipped.labels(mail.event_type).inc()
                return
            await self._mailer.send(mail)
            reach("mail.accepted")
            # Before anything can fail: if the record cannot be written, the message is handled
            # again, and must not be mailed again.
            self._delivery_log.add(mail.event_id, mail.event_type)
            self._count(event, mail)
            await self._delivery_log.flush()

    def _count(self, event: Envelope, mail: Mail) -> None:
        self._sent.labels(mail.event_type).inc()
        delay = (datetime.now(UTC) - event.timestamp).total_seconds()
        self._delay.labels(mail.event_type).observe(max(0.0, delay))  # clocks may differ
        fields = {"event_id": str(mail.event_id), "event_type": mail.event_type}
        log.info("mail sent", extra=fields)
