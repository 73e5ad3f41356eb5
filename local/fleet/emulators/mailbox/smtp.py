"""The SMTP side of the mailbox: it accepts every mail, unless a scripted fault applies."""

from __future__ import annotations

import asyncio
from typing import Any

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, Session

from fleet.emulators.mailbox.faults import Fault, Faults, Stage
from fleet.emulators.mailbox.store import Delivery, Store

_SIZE_LIMIT = 25 * 1024 * 1024


class Handler:
    """Handler of aiosmtpd that stores messages and applies faults."""

    def __init__(self, store: Store, faults: Faults) -> None:
        """``store`` receives the mails."""
        self._store = store
        self._faults = faults

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        """Greet the client."""
        if reply := await self._refusal(server, "helo"):
            return [reply]
        session.host_name = hostname
        return lines

    async def handle_HELO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str
    ) -> str:
        """Greet a client that does not know EHLO."""
        if reply := await self._refusal(server, "helo"):
            return reply
        session.host_name = hostname
        return f"250 {server.hostname}"

    async def handle_AUTH(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, arguments: list[str]
    ) -> Any:
        """Refuse the login, or let aiosmtpd handle it."""
        return await self._refusal(server, "auth") or MISSING

    async def handle_MAIL(  # noqa: N802
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """Start a mail."""
        if reply := await self._refusal(server, "mail", address):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """Add a recipient."""
        if reply := await self._refusal(server, "rcpt", envelope.mail_from or "", address):
            return reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Store the message before the positive reply."""
        content = envelope.content
        raw = content.encode("utf-8", "replace") if isinstance(content, str) else content or b""
        delivery = Delivery(raw, envelope.mail_from or "", tuple(envelope.rcpt_tos))
        recipients = " ".join(envelope.rcpt_tos)
        fault = self._faults.match("data", delivery.mail_from, recipients, lambda: _text(delivery))
        if fault is not None and fault.accept:
            self._keep(delivery)
        if reply := await _apply(server, fault):
            return reply
        self._keep(delivery)
        return f"250 2.0.0 Ok: queued as {delivery.id}"

    def _keep(self, delivery: Delivery) -> None:
        """Store a message, and parse it once the reply is written.

        A search of thousands of messages that are not parsed yet would take seconds.
        """
        self._store.add(delivery)
        asyncio.get_running_loop().call_soon(lambda: delivery.mail)

    async def _refusal(
        self, server: SMTP, stage: Stage, sender: str = "", recipient: str = ""
    ) -> str:
        return await _apply(server, self._faults.match(stage, sender, recipient))


class _RefusedConnection(asyncio.Protocol):
    """Sends a reply instead of the greeting, then closes the connection."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        asyncio.get_running_loop().call_later(self._fault.delay_seconds, self._refuse, transport)

    def _refuse(self, transport: asyncio.Transport) -> None:
        if self._fault.reply:
            transport.write(f"{self._fault.reply}\r\n".encode())
        transport.close()


def connection(store: Store, faults: Faults) -> asyncio.Protocol:
    """Return the protocol of a new connection."""
    fault = faults.match("connect")
    if fault is not None:
        return _RefusedConnection(fault)
    protocol: asyncio.Protocol = SMTP(
        Handler(store, faults),
        hostname="mailbox",
        data_size_limit=_SIZE_LIMIT,
        enable_SMTPUTF8=True,
        authenticator=lambda *_: AuthResult(success=True),
        auth_require_tls=False,
    )
    return protocol


async def _apply(server: SMTP, fault: Fault | None) -> str:
    """Apply a fault: delay, then return its reply or close. Return empty to continue."""
    if fault is None:
        return ""
    if fault.delay_seconds:
        await asyncio.sleep(fault.delay_seconds)
    if not (fault.close or fault.reply.startswith("421")):
        return fault.reply
    if fault.reply:
        await server.push(fault.reply)
    if server.transport is not None:
        server.transport.close()
    closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    return await closed  # aiosmtpd cancels this handler when the connection is lost


def _text(delivery: Delivery) -> str:
    mail = delivery.mail
    return "\n".join((mail.subject, mail.text, mail.html))
