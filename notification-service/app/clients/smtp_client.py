"""The mail server: one connection, kept and used by one mail after the other."""

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
from app.mail import Mail, Sender, render, smtp_address
from app.smtp_replies import Outcome, Stage, classify, enhanced_code
from chassis.observability.tracing import span

log = logging.getLogger(__name__)

_TLS_PORT = 465
_FRESH = 1.0  # seconds after a reply in which a connection is used without a RSET


class SmtpClient:
    """Delivers mails one at a time; every error of SMTP becomes one of app.errors here.

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
            # Else aiosmtplib asks the name service for ours, which may take seconds.
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
            "Mails whose reply was lost: doubled if it was a yes",
            registry=registry,
        )
        self._refusals = Counter(
            "mail_refusals",
            "Refusals by the mail server",
            ["stage", "outcome"],
            registry=registry,
        )
        waiting = Gauge(
            "mail_server_waiting", "1 while no mail can be sent at present", registry=registry
        )
        waiting.set_function(lambda: float(bool(self._state.reason)))

    async def send(self, mail: Mail) -> None:
        """Return when the server has accepted the mail.

        Raises:
            RecipientRefused, MailRejected, MailDeferred, MailServerDown, MailServerRefused,
            ReplyLost.
        """
        message = render(mail, self._sender)
        about = {"peer.service": "smtp", "event_type": mail.event_type}
        with span("send mail", SpanKind.CLIENT, about):
            async with self._lock:
                await asyncio.sleep(self._state.seconds_until_try(mail.recipient))
                await self._pace()
                try:
                    await self._connect()
                    await self._converse(mail.recipient, message)
                except BaseException:
                    # After any error, a cancellation too, the next mail gets a new connection.
                    self._smtp.close()
                    raise
                self._answered_at = self._clock()
                self._state.accepted()

    async def probe(self) -> None:
        """For readiness: raises unless the server accepts mails, as far as is known."""
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
        """Keep to MAIL_RATE_PER_SECOND."""
        now = self._clock()
        await asyncio.sleep(max(0.0, self._next_mail_at - now))
        self._next_mail_at = max(now, self._next_mail_at) + self._interval

    async def _connect(self) -> None:
        """Make sure of a working connection. Servers close idle ones without notice."""
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
        """Say EHLO or HELO, unless TLS or the login had it done while connecting."""
        if self._smtp.is_ehlo_or_helo_needed:
            try:
                await self._smtp.ehlo()
            except SMTPHeloError:
                await self._smtp.helo()

    async def _converse(self, recipient: str, message: bytes) -> None:
        """Hand the message over in one transaction."""
        stage = Stage.MAIL
        try:
            # Not by aiosmtplib's `mail` and `rcpt`, which parse each address once more.
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
        """Raise the error that stands for a refusing reply."""
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
    """Stands for the mail server where none is configured: a mail counts as sent when logged."""

    async def send(self, mail: Mail) -> None:
        fields = {"event_id": str(mail.event_id), "event_type": mail.event_type}
        log.info("SMTP is off; this mail is only logged", extra=fields)

    async def probe(self) -> None: ...

    async def close(self) -> None: ...


def mailer(settings: Settings, registry: CollectorRegistry) -> SmtpClient | LoggedMails:
    return SmtpClient(settings, registry) if settings.smtp_host else LoggedMails()


def _reason(what: str, error: Exception) -> str:
    """Describe an error by its codes, without the server's words: they may quote an address."""
    if not isinstance(error, SMTPResponseException):
        return f"{what}: {type(error).__name__}"
    enhanced = enhanced_code(error.message)
    return f"{what}: {error.code} {enhanced}".rstrip()
