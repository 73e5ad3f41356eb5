"""A mail for each event, once as far as SMTP allows."""

import logging
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.events import AiNotificationReady, InventoryLow, OrderCancelled, OrderPlaced
from app.mail import Mail
from app.services.email_templates import Letters
from app.services.priority_lock import Turns
from chassis.failpoints import reach
from chassis.kafka.events import Envelope

log = logging.getLogger(__name__)


class Mailer(Protocol):
    async def send(self, mail: Mail) -> None:
        """Return when the mail server has said yes; raises what app.errors lists."""


class SentMails(Protocol):
    def knows(self, event_id: UUID) -> bool:
        """Whether this event has had its mail, as far as this replica has heard."""

    def remember(self, event_id: UUID, event_type: str) -> None:
        """It was mailed, just now, by this process; its record is owed."""

    async def settle(self) -> None:
        """Write the records that are owed; raises BrokerUnavailable while one still is."""


class NotificationService:
    """Mails what the events ask for.

    Args:
        letters: writes the mails.
        mailer: delivers them.
        sent: remembers them, across restarts and replicas.
    """

    def __init__(
        self, letters: Letters, mailer: Mailer, sent: SentMails, registry: CollectorRegistry
    ) -> None:
        self._letters = letters
        self._mailer = mailer
        self._sent = sent
        self._turns = Turns()
        self._mailed = Counter("mails_sent", "Mails sent", ["event_type"], registry=registry)
        self._skipped = Counter(
            "mails_skipped", "Events that had their mail already", ["event_type"], registry=registry
        )
        self._delay = Histogram(
            "mail_delay_seconds",
            "Time from what happened to its mail",
            ["event_type"],
            buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
            registry=registry,
        )

    async def order_placed(self, event: OrderPlaced) -> None:
        await self._deliver(event, self._letters.order_placed(event))

    async def order_cancelled(self, event: OrderCancelled) -> None:
        await self._deliver(event, self._letters.order_cancelled(event))

    async def inventory_low(self, event: InventoryLow) -> None:
        await self._deliver(event, self._letters.inventory_low(event))

    async def ai_follow_up(self, event: AiNotificationReady) -> None:
        await self._deliver(event, self._letters.ai_follow_up(event), urgent=False)

    async def _deliver(self, event: Envelope, mail: Mail, *, urgent: bool = True) -> None:
        """Send, remember, record; the caller commits the offset after this returns.

        Where more mails wait than can be sent, the follow-ups do: nobody waits for them.

        One mail at a time, and none before the last one is recorded: so a crash between the yes of
        the mail server and the record doubles one mail at most. So does a yes that is lost on the
        wire. Nothing else does.
        """
        async with self._turns.turn(urgent=urgent):
            await self._sent.settle()
            if self._sent.knows(mail.event_id):
                self._skipped.labels(mail.event_type).inc()
                return
            await self._mailer.send(mail)
            reach("mail.accepted")
            # At once, before anything can fail: when the record cannot be written, this message is
            # tried again, and must not be mailed again.
            self._sent.remember(mail.event_id, mail.event_type)
            self._mailed.labels(mail.event_type).inc()
            waited = (datetime.now(UTC) - event.timestamp).total_seconds()
            self._delay.labels(mail.event_type).observe(max(0.0, waited))  # clocks may differ
            fields = {"event_id": str(mail.event_id), "event_type": mail.event_type}
            log.info("mail sent", extra=fields)
            await self._sent.settle()
