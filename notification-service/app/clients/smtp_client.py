"""The mail server: one connection, kept and used by one mail after the other."""

import asyncio
import logging
import time
from collections.abc import Callable

from aiosmtplib import SMTP, SMTPException, SMTPResponseException
from aiosmtplib.errors import SMTPDataError, SMTPHeloError
from prometheus_client import CollectorRegistry, Counter

from app.config import Settings
from app.errors import AnswerLost, MailDeferred, MailRejected, MailServerDown, RecipientRefused
from app.mail import Mail, Sender, render, smtp_address
from chassis.kafka.policy import RetryPolicy
from chassis.tracing import Kind, span

log = logging.getLogger(__name__)

_OK, _WILL_FORWARD, _CLOSING = 250, 251, 421
_TLS_PORT = 465
_FRESH = 1.0  # seconds after an answer in which a connection is not tried out first


class SmtpClient:
    """Delivers mails one at a time; every error of SMTP becomes one of app.errors here.

    While the server is away all senders share one probe: after a failure nobody connects again
    before a wait with full jitter is over.

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
        self._lock = asyncio.Lock()
        self._backoff = RetryPolicy(backoff=0.5)
        self._failures = 0
        self._closed_until = 0.0
        self._answered_at = clock() - _FRESH
        self._in_doubt = Counter(
            "mails_in_doubt",
            "Mails whose answer was lost: doubled if it was a yes",
            registry=registry,
        )

    async def send(self, mail: Mail) -> None:
        """Return when the server has said yes.

        Raises:
            RecipientRefused, MailServerDown, MailDeferred, MailRejected, AnswerLost.
        """
        message = render(mail, self._sender)
        about = {"peer.service": "smtp", "event_type": mail.event_type}
        with span("send mail", Kind.CLIENT, about):
            async with self._lock:
                try:
                    await self._connect()
                    await self._begin(smtp_address(mail.recipient))
                    await self._transfer(message)
                    self._answered_at = self._clock()
                except BaseException:
                    # Whatever it was, a cancellation too: the next mail gets a clean conversation.
                    self._smtp.close()
                    raise

    async def probe(self) -> None:
        """For readiness: raises unless the server answers."""
        async with self._lock:
            try:
                await self._connect()
            except BaseException:
                self._smtp.close()
                raise

    async def close(self) -> None:
        if self._smtp.is_connected:
            try:
                async with asyncio.timeout(1):
                    await self._smtp.quit()
            except (SMTPException, OSError):
                self._smtp.close()

    async def _connect(self) -> None:
        """A connection that answered just now. Idle ones are closed by servers without a word."""
        if self._smtp.is_connected:
            if self._clock() - self._answered_at < _FRESH:
                return
            try:
                await self._smtp.rset()
                return
            except (SMTPException, OSError):
                self._smtp.close()
        if self._clock() < self._closed_until:
            raise MailServerDown("no connection a moment ago")
        try:
            await self._smtp.connect()
            await self._greet()
        except (SMTPException, OSError) as error:
            self._failures += 1
            self._closed_until = self._clock() + self._backoff.delay(self._failures)
            raise MailServerDown(_reason("no connection", error)) from error
        self._failures = 0

    async def _greet(self) -> None:
        """Unless TLS or the login had it done while connecting."""
        if self._smtp.is_ehlo_or_helo_needed:
            try:
                await self._smtp.ehlo()
            except SMTPHeloError:
                await self._smtp.helo()

    async def _begin(self, recipient: str) -> None:
        """Not by aiosmtplib's `mail` and `rcpt`, which take each address apart once more."""
        try:
            code = await self._command(b"MAIL", f"FROM:<{self._sender.address}>")
            if code != _OK:
                raise MailServerDown(f"sender not accepted: {code}")
            code = await self._command(b"RCPT", f"TO:<{recipient}>")
        except (SMTPException, OSError) as error:
            raise MailServerDown(_reason("no mail accepted", error)) from error
        if code == _CLOSING:
            raise MailServerDown(f"closing ({code})")
        if code >= 500:
            raise RecipientRefused(f"recipient refused ({code})")
        if code not in (_OK, _WILL_FORWARD):
            raise MailDeferred(f"recipient deferred ({code})")

    async def _command(self, verb: bytes, about: str) -> int:
        return int((await self._smtp.execute_command(verb, about.encode("ascii"))).code)

    async def _transfer(self, message: bytes) -> None:
        try:
            await self._smtp.data(message, timeout=self._data_timeout)
        except SMTPDataError as error:
            if error.code == _CLOSING:
                raise MailServerDown(_reason("closing", error)) from error
            if error.code >= 500:
                raise MailRejected(_reason("content rejected", error)) from error
            raise MailDeferred(_reason("content deferred", error)) from error
        except BaseException as error:
            self._in_doubt.inc()
            if isinstance(error, SMTPException | OSError):
                raise AnswerLost(_reason("answer lost", error)) from error
            raise


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
    """Without the server's words: they like to quote the recipient's address."""
    code = f" ({error.code})" if isinstance(error, SMTPResponseException) else ""
    return f"{what}: {type(error).__name__}{code}"
