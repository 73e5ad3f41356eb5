"""A client of the mail server with one persistent connection."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NoReturn

from aiosmtplib import SMTP, SMTPException, SMTPResponseException
from aiosmtplib.errors import SMTPHeloError
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge

from app.clients.server_state import ServerState
from app.config import Settings
from app.errors import (
    MailDeferred,
    MailRejected,
    MailServerDown,
    MailServerRefused,
    RecipientRefused,
    ReplyLost,
)
from app.mail import Mail, Sender, smtp_address, to_message
from app.smtp_replies import Outcome, Stage, classify, enhanced_code
from chassis.observability.tracing import span

log = logging.getLogger(__name__)

_TLS_PORT = 465
_FRESH = 1.0  # seconds after a reply during which the connection is used without a RSET


class SmtpClient:
    """Delivers mails one at a time. Raises one of app.errors for every SMTP error.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._sender = Sender.of(settings.mail_from)
        use_tls = settings.smtp_port == _TLS_PORT
        self._smtp = SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username or None,
            password=settings.smtp_password.get_secret_value() or None,
            use_tls=use_tls,
            start_tls=settings.smtp_starttls and not use_tls,
            timeout=settings.smtp_timeout,
            # By default aiosmtplib looks up the local host name, which may take seconds.
            local_hostname=self._sender.domain,
        )
        self._data_timeout = settings.smtp_data_timeout
        rate = settings.mail_rate_per_second
        self._interval = 1 / rate if rate else 0.0
        self._next_mail_at = clock()
        self._lock = asyncio.Lock()
        self._state = ServerState(clock)
        self._answered_at = clock() - _FRESH
        self._in_doubt = Counter(
            "mails_in_doubt",
            "Mails whose reply was lost; the server may have accepted them",
            registry=registry,
        )
        self._refusals = Counter(
            "mail_refusals",
            "Refusals by the mail server",
            ["stage", "outcome"],
            registry=registry,
        )
        waiting = Gauge(
            "mail_server_waiting", "1 while the mail server accepts no mails", registry=registry
        )
        waiting.set_function(lambda: float(bool(self._state.reason)))

    async def send(self, mail: Mail) -> None:
        """Return when the server has accepted the mail.

        Raises:
            RecipientRefused, MailRejected, MailDeferred, MailServerDown, MailServerRefused,
            ReplyLost.
        """
        message = to_message(mail, self._sender)
        about = {"peer.service": "smtp", "event_type": mail.event_type}
        with span("send mail", SpanKind.CLIENT, about):
            async with self._lock:
                await asyncio.sleep(self._state.seconds_until_try(mail.recipient))
                await self._pace()
                try:
                    await self._connect()
                    await self._transmit(mail.recipient, message)
                except BaseException:
                    # After any error, a cancellation too, the next mail gets a new connection.
                    self._smtp.close()
                    raise
                self._answered_at = self._clock()
                self._state.accepted()

    async def probe(self) -> None:
        """Check for readiness: raise MailServerDown unless the server accepts mails."""
        async with self._lock:
            try:
                await self._connect()
            except BaseException:
                self._smtp.close()
                raise
        if self._state.reason:
            raise MailServerDown(self._state.reason)

    async def close(self) -> None:
        if self._smtp.is_connected:
            try:
                async with asyncio.timeout(1):
                    await self._smtp.quit()
            except (SMTPException, OSError):
                self._smtp.close()

    async def _pace(self) -> None:
        """Wait as MAIL_RATE_PER_SECOND requires."""
        now = self._clock()
        await asyncio.sleep(max(0.0, self._next_mail_at - now))
        self._next_mail_at = max(now, self._next_mail_at) + self._interval

    async def _connect(self) -> None:
        """Connect, unless the connection still works. Servers close idle ones without notice."""
        if self._smtp.is_connected:
            if self._clock() - self._answered_at < _FRESH:
                return
            try:
                await self._smtp.rset()
                return
            except (SMTPException, OSError):
                self._smtp.close()
        if not self._state.may_try:
            raise MailServerDown(self._state.reason)
        try:
            await self._smtp.connect()
            await self._greet()
        except SMTPResponseException as error:
            self._count(Stage.CONNECT, Outcome.SERVER)
            reason = _reason("connection or login refused", error)
            self._state.login_refused(reason)
            raise MailServerDown(reason) from error
        except (SMTPException, OSError) as error:
            reason = _reason("no connection", error)
            self._state.unreachable(reason)
            raise MailServerDown(reason) from error
        self._state.connected()

    async def _greet(self) -> None:
        """Send EHLO or HELO, unless TLS or the login sent it already."""
        if self._smtp.is_ehlo_or_helo_needed:
            try:
                await self._smtp.ehlo()
            except SMTPHeloError:
                await self._smtp.helo()

    async def _transmit(self, recipient: str, message: bytes) -> None:
        """Send the message in one SMTP transaction."""
        stage = Stage.MAIL
        try:
            # aiosmtplib's `mail` and `rcpt` parse each address and change unusual ones.
            await self._command(b"MAIL", f"FROM:<{self._sender.address}>")
            stage = Stage.RCPT
            await self._command(b"RCPT", f"TO:<{smtp_address(recipient)}>")
            stage = Stage.DATA
            await self._smtp.data(message, timeout=self._data_timeout)
        except SMTPResponseException as error:
            self._refused(stage, error, recipient)
        except (SMTPException, OSError) as error:
            if stage is Stage.DATA:
                self._in_doubt.inc()
                reason = _reason("reply lost", error)
                self._state.refused(reason, recipient)
                raise ReplyLost(reason) from error
            self._count(stage, Outcome.SERVER)
            reason = _reason(f"connection lost at {stage.name}", error)
            climb = self._state.refused(reason, recipient)
            raise MailServerRefused(reason, climb=climb) from error
        except BaseException:
            if stage is Stage.DATA:
                self._in_doubt.inc()
            raise

    async def _command(self, verb: bytes, argument: str) -> None:
        response = await self._smtp.execute_command(verb, argument.encode("ascii"))
        if response.code >= 300:
            raise SMTPResponseException(response.code, response.message)

    def _refused(self, stage: Stage, error: SMTPResponseException, recipient: str) -> NoReturn:
        """Raise the error for a reply that refuses the mail."""
        outcome = classify(stage, error.code, error.message)
        self._count(stage, outcome)
        reason = _reason(f"refused at {stage.name}", error)
        match outcome:
            case Outcome.UNDELIVERABLE:
                raise RecipientRefused(reason) from error
            case Outcome.REJECTED if not self._state.rejected(reason, recipient):
                raise MailRejected(reason) from error
            case Outcome.DEFERRED:
                raise MailDeferred(reason) from error
            case Outcome.REJECTED:
                raise MailServerRefused(reason, climb=False) from error
            case Outcome.SERVER:
                climb = self._state.refused(reason, recipient)
                raise MailServerRefused(reason, climb=climb) from error

    def _count(self, stage: Stage, outcome: Outcome) -> None:
        self._refusals.labels(stage, outcome).inc()


class LoggedMails:
    """Replaces the mail server where none is configured: logs each mail as sent."""

    async def send(self, mail: Mail) -> None:
        fields = {"event_id": str(mail.event_id), "event_type": mail.event_type}
        log.info("mail logged, not sent: SMTP is off", extra=fields)

    async def probe(self) -> None: ...

    async def close(self) -> None: ...


def mailer(settings: Settings, registry: CollectorRegistry) -> SmtpClient | LoggedMails:
    return SmtpClient(settings, registry) if settings.smtp_host else LoggedMails()


def _reason(what: str, error: Exception) -> str:
    """Describe an error by its codes. The server's text may quote an address."""
    if not isinstance(error, SMTPResponseException):
        return f"{what}: {type(error).__name__}"
    enhanced = enhanced_code(error.message)
    return f"{what}: {error.code} {enhanced}".rstrip()
