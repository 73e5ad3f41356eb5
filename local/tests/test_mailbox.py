"""The mailbox accepts any mail over SMTP and displays it without executing its content."""

from __future__ import annotations

import http.client
import json
import smtplib
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from fleet.clients.mailbox import Mailbox
from fleet.emulators.mailbox.search import matcher
from fleet.emulators.mailbox.store import Delivery, Store


class Answer(NamedTuple):
    """Request the mailbox's HTTP API; return the response."""

    status: int
    headers: dict[str, str]
    text: str


def _deliver(mailbox: Mailbox, raw: bytes, to: str = "alice@example.com") -> None:
    with smtplib.SMTP(mailbox.smtp_host, mailbox.smtp_port) as smtp:
        smtp.sendmail("shop@example.com", [to], raw)


def _delivery(subject: str, to: str = "alice@example.com") -> Delivery:
    raw = f"To: {to}\nSubject: {subject}\n\nSome words".encode()
    return Delivery(raw, "shop@x.test", (to,))


@pytest.fixture(autouse=True)
def _empty(mailbox: Mailbox) -> None:
    mailbox.clear()


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe not a header\n\n\xe4\xf6",
        b"From: =?utf-8?q?bad?\nTo: <<\nDate: never\n\nhi",
        b"Content-Type: text/plain; charset=nonsense\n\nhi",
        b"Content-Type: multipart/mixed\n\nno boundary",
        b"Content-Transfer-Encoding: base64\n\n%%%",
        b"",
    ],
)
def test_malformed_mail_is_accepted_and_shown(mailbox: Mailbox, raw: bytes) -> None:
    _deliver(mailbox, raw)
    (summary,) = mailbox.messages()
    found = mailbox.message(summary["ID"])
    assert found["Bcc"] == [{"Name": "", "Address": "alice@example.com"}]


def test_messages_are_paged_newest_first(mailbox: Mailbox) -> None:
    for number in range(5):
        _deliver(mailbox, f"Subject: mail {number}\n\n.".encode())
    page = json.loads(_request(mailbox, "GET", "/api/v1/messages?start=1&limit=2").text)
    assert [message["Subject"] for message in page["messages"]] == ["mail 3", "mail 2"]
    assert (page["total"], page["count"], page["unread"]) == (5, 2, 5)


def test_mail_is_deleted_by_id(mailbox: Mailbox) -> None:
    _deliver(mailbox, b"Subject: stays\n\n.")
    _deliver(mailbox, b"Subject: goes\n\n.")
    doomed = mailbox.messages("subject:goes")[0]["ID"]
    _request(mailbox, "DELETE", "/api/v1/messages", json.dumps({"IDs": [doomed]}))
    assert [message["Subject"] for message in mailbox.messages()] == ["stays"]


def test_unknown_mail_returns_404(mailbox: Mailbox) -> None:
    for path in ("/api/v1/message/nope", "/api/v1/message/nope/headers", "/view/nope.html"):
        assert _request(mailbox, "GET", path).status == 404


def test_html_mail_cannot_run_scripts_or_send_requests(mailbox: Mailbox) -> None:
    _deliver(mailbox, b"Content-Type: text/html\n\n<script>alert(1)</script><h1>Hi</h1>")
    answer = _request(mailbox, "GET", f"/view/{mailbox.messages()[0]['ID']}.html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "<h1>Hi</h1>" in answer.text


def test_inbox_page_loads_no_external_file(mailbox: Mailbox) -> None:
    for path in ("/", "/page.css", "/page.js"):
        answer = _request(mailbox, "GET", path)
        assert answer.status == 200
        assert "//" not in answer.text.replace("// ", "")


def test_stopped_mailbox_refuses_connections_until_start(mailbox: Mailbox) -> None:
    mailbox.stop()
    with pytest.raises(ConnectionRefusedError):
        _deliver(mailbox, b"Subject: lost\n\n.")
    mailbox.start()
    _deliver(mailbox, b"Subject: arrives\n\n.")
    assert mailbox.wait_for(lambda mail: mail["Subject"] == "arrives", timeout=5)


def test_store_keeps_only_latest_mails() -> None:
    store = Store(limit=2)
    for number in range(3):
        delivery = _delivery(f"mail {number}")
        store.add(delivery)
        store.mark_read(delivery.mail)
    assert [mail.subject for mail in store] == ["mail 2", "mail 1"]
    assert store.unread == 0


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", True),
        ("ORDER words", True),
        ("to:alice subject:order", True),
        ('subject:"order 7"', True),
        ("from:shop@x.test", True),
        ("to:bob", False),
        ("subject:words", False),
        ('"unclosed', False),
    ],
)
def test_search_supports_fields_and_words(query: str, found: bool) -> None:
    assert matcher(query)(_delivery("Your order 7").mail) is found


def _request(mailbox: Mailbox, method: str, path: str, body: str | None = None) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(mailbox.url).netloc, timeout=5)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers), answer.read().decode())
    finally:
        connection.close()
