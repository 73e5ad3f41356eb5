"""The mailbox's scripted faults: their effect over SMTP, the HTTP API and the rules."""

from __future__ import annotations

import smtplib
import time
import urllib.error
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from pydantic import ValidationError

from fleet.clients.mailbox import Mailbox
from fleet.emulators.mailbox.faults import PRESETS, Fault, Faults

LOST = "the connection was closed without a reply"


@pytest.fixture(autouse=True)
def _clean(mailbox: Mailbox) -> Iterator[None]:
    mailbox.clear()
    mailbox.set_faults()
    yield
    mailbox.set_faults()


def send(
    mailbox: Mailbox, to: str = "alice@example.com", text: str = "Hello", login: bool = False
) -> str:
    """Send one mail; return the reply that refused it, or an empty text."""
    message = EmailMessage()
    message["Subject"] = "A mail"
    message.set_content(text)
    smtp = smtplib.SMTP(timeout=5)
    try:
        code, words = smtp.connect(mailbox.smtp_host, mailbox.smtp_port)
        if code != 220:
            return f"{code} {words.decode()}"
        if login:
            smtp.login("shop", "secret")
        smtp.sendmail("shop@example.com", [to], message.as_bytes())
    except smtplib.SMTPRecipientsRefused as error:
        code, words = error.recipients[to]
        return f"{code} {words.decode()}"
    except smtplib.SMTPResponseException as error:
        return f"{error.smtp_code} {words_of(error)}"
    except smtplib.SMTPServerDisconnected:
        return LOST
    finally:
        smtp.close()
    return ""


def words_of(error: smtplib.SMTPResponseException) -> str:
    """Return the text of a reply, which smtplib has as bytes or text."""
    words = error.smtp_error
    return words.decode() if isinstance(words, bytes) else words


@pytest.mark.parametrize(
    ("preset", "seen", "arrived"),
    [
        ("greylisting", "450 4.7.1 Greylisted, try again later", 0),
        ("quota", "550 5.4.5 Daily user sending limit exceeded", 0),
        ("throttling", "454 4.7.0 Too many messages, slow down", 0),
        ("busy", "421 4.7.0 Try again later, closing connection", 0),
        ("server-full", "452 4.3.1 Insufficient system storage", 0),
        ("mailbox-full", "452 4.2.2 Mailbox full", 0),
        ("mailbox-over-quota", "552 5.2.2 Mailbox over quota", 0),
        ("content-refused", "554 5.7.1 Message content rejected", 0),
        ("unknown-user", "550 5.1.1 No such user here", 0),
        ("login-refused", "535 5.7.8 Bad credentials", 0),
        ("connection-refused", "554 5.7.1 No SMTP service here", 0),
        ("helo-refused", "550 5.7.1 Host name rejected", 0),
        ("sender-refused", "550 5.7.1 Sender rejected", 0),
        ("lost-reply", LOST, 1),
        ("hang-up", LOST, 0),
    ],
)
def test_preset_refuses_like_its_server_until_removed(
    mailbox: Mailbox, preset: str, seen: str, arrived: int
) -> None:
    mailbox.set_faults({"preset": preset})
    text = "REFUSE-THIS"
    assert send(mailbox, text=text, login=preset == "login-refused") == seen
    assert len(mailbox.messages()) == arrived
    assert mailbox.faults()[0]["hits"] >= 1
    mailbox.set_faults()
    assert send(mailbox, text=text, login=True) == ""
    assert len(mailbox.messages()) == arrived + 1


def test_every_preset_is_tested() -> None:
    (mark,) = test_preset_refuses_like_its_server_until_removed.pytestmark  # type: ignore[attr-defined]
    assert {row[0] for row in mark.args[1]} | {"slow"} == set(PRESETS)


def test_slow_server_accepts_after_its_delay(mailbox: Mailbox) -> None:
    mailbox.set_faults({"preset": "slow", "delay_seconds": 0.5})
    began = time.monotonic()
    assert send(mailbox) == ""
    assert time.monotonic() - began >= 0.5
    assert len(mailbox.messages()) == 1


def test_marker_is_found_in_an_encoded_body_and_spares_other_mails(mailbox: Mailbox) -> None:
    mailbox.set_faults({"preset": "content-refused", "marker": "grün und blau"})
    assert send(mailbox, text="x" * 70 + " grün und blau").startswith("554")
    assert send(mailbox, text="rot") == ""


def test_recipient_limits_a_fault_to_matching_addresses(mailbox: Mailbox) -> None:
    mailbox.set_faults({"preset": "quota", "recipient": "Bob@"})
    assert send(mailbox, to="bob@example.com").startswith("550 5.4.5")
    assert send(mailbox, to="alice@example.com") == ""


@pytest.mark.parametrize(
    "body",
    [
        {"preset": "no such"},
        {"stage": "data"},
        {"stage": "rcpt", "reply": "250 OK"},
        {"stage": "rcpt", "reply": "450 two\r\nlines"},
        {"stage": "mail", "reply": "450 no", "marker": "x"},
        {"stage": "data", "accept": True},
        {"stage": "mail", "reply": "450 no", "recipient": "bob"},
        {"stage": "data", "reply": "450 no", "greylist_seconds": 5},
        {"stage": "rcpt", "reply": "450 no", "seconds": 5},
    ],
)
def test_invalid_fault_is_refused_with_422(mailbox: Mailbox, body: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="422"):
        mailbox.set_faults(body)
    assert mailbox.faults() == []


class Clock:
    """A monotonic clock set by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_greylisting_counts_from_the_first_attempt_of_each_sender_and_recipient() -> None:
    clock = Clock()
    faults = Faults(clock)
    faults.replace([Fault.model_validate({"preset": "greylisting", "greylist_seconds": 20})])
    assert faults.match("rcpt", "shop@x.test", "alice@x.test")
    clock.now += 19
    assert faults.match("rcpt", "shop@x.test", "Alice@x.test")
    assert faults.match("rcpt", "shop@x.test", "bob@x.test")
    clock.now += 1
    assert faults.match("rcpt", "shop@x.test", "alice@x.test") is None
    assert faults.match("rcpt", "shop@x.test", "bob@x.test")
    assert faults.match("rcpt", "other@x.test", "alice@x.test")


def test_fault_ends_after_its_duration_or_its_number_of_refusals() -> None:
    clock = Clock()
    faults = Faults(clock)
    faults.replace([Fault(stage="mail", reply="451 4.3.0 no", duration_seconds=5)])
    assert faults.match("mail")
    clock.now += 5
    assert faults.match("mail") is None
    faults.replace([Fault(stage="mail", reply="451 4.3.0 no", times=2)])
    assert [bool(faults.match("mail")) for _ in range(3)] == [True, True, False]
    assert faults.status()[0]["hits"] == 2
    assert not faults.status()[0]["active"]


def test_first_matching_fault_applies() -> None:
    faults = Faults()
    first = Fault(stage="rcpt", reply="450 4.2.1 no", recipient="bob")
    second = Fault(stage="rcpt", reply="550 5.1.1 no")
    faults.replace([first, second])
    assert faults.match("rcpt", "", "bob@x.test") == first
    assert faults.match("rcpt", "", "alice@x.test") == second
    assert faults.match("data") is None


def test_greylisting_needs_the_stage_rcpt() -> None:
    with pytest.raises(ValidationError):
        Fault(stage="mail", reply="450 no", greylist_seconds=1)
