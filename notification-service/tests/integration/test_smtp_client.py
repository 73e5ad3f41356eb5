"""SmtpClient on a real socket: replies and the errors that they raise."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from tests.fakes import ScriptedSmtp

from app.clients.smtp_client import LoggedMails, SmtpClient, mailer
from app.config import Settings
from app.errors import (
    MailDeferred,
    MailRejected,
    MailServerDown,
    MailServerRefused,
    RecipientRefused,
    ReplyLost,
)
from app.mail import Mail


def mail(number: int = 1, recipient: str = "alice@example.com") -> Mail:
    return Mail(uuid4(), "ORDER_PLACED", recipient, f"Mail {number}", "text\n", "<p>html</p>")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedSmtp]:
    async with ScriptedSmtp().serve() as server:
        yield server


class Client:
    def __init__(self, port: int, **changes: Any) -> None:
        self.registry = CollectorRegistry()
        settings = Settings(
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_starttls=False,
            smtp_timeout=0.5,
            smtp_data_timeout=1.0,
            mail_from="Demo Shop <shop@example.com>",
            **changes,
        )
        self.later = 0.0
        self.smtp = SmtpClient(settings, self.registry, lambda: time.monotonic() + self.later)

    def in_doubt(self) -> float | None:
        return self.registry.get_sample_value("mails_in_doubt_total")


@pytest.fixture
async def client(server: ScriptedSmtp) -> AsyncIterator[Client]:
    client = Client(server.port)
    yield client
    await client.smtp.close()


async def test_many_mails_use_one_connection(server: ScriptedSmtp, client: Client) -> None:
    await asyncio.gather(*(client.smtp.send(mail(number)) for number in range(20)))
    assert server.connections == 1
    assert len(server.taken) == 20
    assert "MAIL FROM:<shop@example.com>" in server.commands
    assert "RCPT TO:<alice@example.com>" in server.commands


@pytest.mark.parametrize(
    ("command", "reply", "error"),
    [
        ("GREETING", "554 not you", MailServerDown),
        ("GREETING", "421 too busy", MailServerDown),
        ("GREETING", "silence", MailServerDown),
        ("GREETING", "hang up", MailServerDown),
        ("MAIL", "530 log in first", MailServerRefused),
        ("MAIL", "451 later", MailServerRefused),
        ("MAIL", "hang up", MailServerRefused),
        ("RCPT", "550 no such user alice@example.com", RecipientRefused),
        ("RCPT", "553 bad mailbox name", RecipientRefused),
        ("RCPT", "450 greylisted", MailDeferred),
        ("RCPT", "421 closing", MailServerRefused),
        ("RCPT", "silence", MailServerRefused),
        ("DATA", "452 4.2.2 full", MailDeferred),
        ("DATA", "554 no", MailRejected),
        (".", "554 looks like spam", MailRejected),
        (".", "550 5.4.5 quota of alice@example.com", MailServerRefused),
        (".", "451 later", MailDeferred),
        (".", "421 closing", MailServerRefused),
        (".", "hang up", ReplyLost),
        (".", "silence", ReplyLost),
    ],
)
async def test_reply_raises_its_error_and_the_next_mail_is_sent(
    server: ScriptedSmtp, client: Client, command: str, reply: str, error: type[Exception]
) -> None:
    server.says = {command: reply}
    with pytest.raises(error) as caught:
        await client.smtp.send(mail())
    assert "alice" not in str(caught.value), "the text goes into logs and dead letters"
    server.says = {}
    await eventually(client, mail())
    assert client.in_doubt() == (1 if command == "." and reply in {"hang up", "silence"} else 0)


async def eventually(client: Client, mail: Mail) -> None:
    """Try again while the server is down, as the consumer does."""
    async with asyncio.timeout(5):
        while True:
            try:
                await client.smtp.send(mail)
            except (MailServerDown, MailServerRefused):
                await asyncio.sleep(0.02)
            else:
                return


async def test_slow_reply_to_a_content_is_awaited(server: ScriptedSmtp, client: Client) -> None:
    """A mail whose reply is not awaited would be sent again."""
    server.delay = 0.7
    await client.smtp.send(mail())
    assert client.in_doubt() == 0


async def test_server_without_ehlo_is_greeted_with_helo(
    server: ScriptedSmtp, client: Client
) -> None:
    server.says = {"EHLO": "502 what?", "HELO": "250 scripted"}
    await client.smtp.send(mail(1))
    await client.smtp.send(mail(2))
    assert [line.split(" ")[0] for line in server.commands] == [
        *("EHLO", "HELO"),
        *("MAIL", "RCPT", "DATA"),
        *("MAIL", "RCPT", "DATA"),
    ]


async def test_connection_closed_while_idle_is_replaced(
    server: ScriptedSmtp, client: Client
) -> None:
    await client.smtp.send(mail(1))
    server.says = {"RSET": "hang up"}
    client.later = 1.0
    await client.smtp.send(mail(2))
    assert server.connections == 2
    assert len(server.taken) == 2


async def test_senders_share_one_probe_of_an_unavailable_server(server: ScriptedSmtp) -> None:
    """Promise 27: twelve waiting partitions do not connect twelve times as often."""
    server.says = {"GREETING": "421 too busy"}
    client = Client(server.port)
    results = await asyncio.gather(
        *(client.smtp.send(mail(n)) for n in range(100)), return_exceptions=True
    )
    assert all(isinstance(result, MailServerDown) for result in results)
    assert server.connections < 10


async def test_refused_recipient_does_not_close_the_server_state(
    server: ScriptedSmtp, client: Client
) -> None:
    server.says = {"RCPT": "550 no such user"}
    for _ in range(3):
        with pytest.raises(RecipientRefused):
            await client.smtp.send(mail())
    server.says = {}
    await client.smtp.send(mail())


async def test_cancelled_mail_is_followed_by_a_new_connection(
    server: ScriptedSmtp, client: Client
) -> None:
    server.says = {"RCPT": "silence"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.smtp.send(mail(1))
    server.says = {}
    await client.smtp.send(mail(2))
    assert len(server.taken) == 1
    assert b"Mail 2" in server.taken[0]


async def test_probe_raises_unless_the_server_replies(server: ScriptedSmtp, client: Client) -> None:
    await client.smtp.probe()
    await client.smtp.probe()
    assert server.connections == 1
    server.says = {"RSET": "silence", "GREETING": "silence"}
    with pytest.raises(MailServerDown):
        await client.smtp.probe()


async def test_probe_reports_a_refusing_server_until_it_accepts_a_mail(
    server: ScriptedSmtp, client: Client
) -> None:
    """Readiness: a server that answers and refuses every mail is not UP."""
    server.says = {".": "550 5.4.5 Daily limit"}
    with pytest.raises(MailServerRefused):
        await client.smtp.send(mail())
    with pytest.raises(MailServerDown):
        await client.smtp.probe()
    assert client.registry.get_sample_value("mail_server_waiting") == 1
    server.says = {}
    await eventually(client, mail())
    await client.smtp.probe()
    assert client.registry.get_sample_value("mail_server_waiting") == 0


async def test_refused_login_waits_and_recovers(server: ScriptedSmtp) -> None:
    server.says = {"EHLO": "250-scripted\r\n250 AUTH PLAIN", "AUTH": "535 5.7.8 Bad credentials"}
    client = Client(server.port, smtp_username="shop", smtp_password="secret")
    with pytest.raises(MailServerDown, match=r"535 5\.7\.8"):
        await client.smtp.send(mail())
    assert not any(command.startswith("MAIL") for command in server.commands)
    server.says["AUTH"] = "235 2.7.0 OK"
    await eventually(client, mail())
    await client.smtp.close()


async def test_rejections_of_one_recipient_do_not_stop_the_others(
    server: ScriptedSmtp, client: Client
) -> None:
    server.says = {".": "554 5.7.1 Message content rejected"}
    for number in range(21):
        with pytest.raises(MailRejected):
            await client.smtp.send(mail(number, "bob@example.com"))
    server.says = {}
    await client.smtp.send(mail())


async def test_rejections_of_everyone_are_a_state_of_the_server(
    server: ScriptedSmtp, client: Client
) -> None:
    server.says = {".": "554 Sending paused for this account"}
    for number in range(4):
        with pytest.raises(MailRejected):
            await client.smtp.send(mail(number, f"customer-{number}@example.com"))
    with pytest.raises(MailServerRefused):
        await client.smtp.send(mail())


async def test_rate_limit_spaces_mails(server: ScriptedSmtp) -> None:
    client = Client(server.port, mail_rate_per_second=20)
    began = time.monotonic()
    for number in range(5):
        await client.smtp.send(mail(number))
    assert time.monotonic() - began >= 4 / 20
    await client.smtp.close()


async def test_server_without_starttls_gets_no_mail(server: ScriptedSmtp) -> None:
    """A server that does not offer it gets neither password nor mail."""
    settings = Settings(smtp_host="127.0.0.1", smtp_port=server.port, smtp_username="u")
    client = SmtpClient(settings, CollectorRegistry())
    with pytest.raises(MailServerDown):
        await client.send(mail())
    assert not any(command.startswith(("AUTH", "MAIL")) for command in server.commands)


async def test_mails_without_a_server_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Promise 57: the log names the event, not the customer."""
    off = mailer(Settings(), CollectorRegistry())
    assert isinstance(off, LoggedMails)
    with caplog.at_level("INFO"):
        await off.send(mail())
    await off.probe()
    (record,) = caplog.records
    assert record.__dict__["event_type"] == "ORDER_PLACED"
    assert "alice" not in str(record.__dict__)
