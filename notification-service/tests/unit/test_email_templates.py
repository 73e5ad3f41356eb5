"""The content of the mails."""

import re
from typing import Any

import pytest
from tests.samples import TOPICS, encoded, sample

from app.events import AiNotificationReady, InventoryLow, OrderCancelled, OrderPlaced
from app.mail import Mail
from app.services.email_templates import EmailTemplates, sanitise, to_text
from chassis.kafka.events import Envelope

MODELS: dict[str, type[Envelope]] = {
    "order-placed": OrderPlaced,
    "order-cancelled": OrderCancelled,
    "inventory-low": InventoryLow,
    "ai-notification-ready": AiNotificationReady,
}
TEMPLATES = EmailTemplates("Demo Shop <shop@example.com>", "Stock <stock@example.com>")
WRITERS: dict[str, Any] = {
    "order-placed": TEMPLATES.order_confirmation,
    "order-cancelled": TEMPLATES.order_cancellation,
    "inventory-low": TEMPLATES.low_stock_alert,
    "ai-notification-ready": TEMPLATES.follow_up,
}
MARKUP = '<img src="https://evil.example/x.png"><script>alert(1)</script>"\'&'


def letter(topic: str, **changes: Any) -> Mail:
    event = MODELS[topic].model_validate_json(encoded(sample(topic, **changes)))
    written: Mail = WRITERS[topic](event)
    return written


def test_confirmation_lists_the_ordered_items() -> None:
    mail = letter("order-placed")
    assert mail.recipient == "alice@example.com"
    assert mail.subject == "Your order ORD-20261123-7C9E6679 is confirmed"
    for part in (mail.text, mail.html):
        for word in ("Alice Example", "ORD-20261123-7C9E6679", "Wireless Headphones", "Desk Lamp"):
            assert word in part
        for amount in ("79.99", "159.98", "49.99", "209.97"):
            assert amount in part


def test_sums_are_exact() -> None:
    """Promise 55."""
    items = [{"product_name": "Penny", "quantity": 3, "price": 0.1}]
    mail = letter("order-placed", items=items, total_amount=9_999_999_999.99)
    assert "0.30" in mail.text
    assert "9,999,999,999.99" in mail.text


def test_cancellation_contains_its_reason_if_any() -> None:
    assert "Changed my mind" in letter("order-cancelled").html
    without = letter("order-cancelled", reason=None)
    assert "Reason" not in without.html
    assert "None" not in without.text


def test_low_stock_alert_is_sent_to_the_alert_address() -> None:
    mail = letter("inventory-low")
    assert mail.recipient == "stock@example.com"
    assert mail.subject == "Low stock: Wireless Headphones (4 left)"
    assert "10" in mail.text


def test_follow_up_keeps_its_text_and_plain_formatting() -> None:
    mail = letter("ai-notification-ready")
    assert "<b>Wireless Headphones</b>" in mail.html
    assert "Dear Alice, your Wireless Headphones are on their way." in mail.text


@pytest.mark.parametrize("topic", ["order-placed", "order-cancelled", "ai-notification-ready"])
@pytest.mark.parametrize("number", ["ORD-20261123-7C9E6679", "N" * 40])
def test_subject_of_an_order_mail_contains_the_order_number(topic: str, number: str) -> None:
    changes = {"subject": "x" * 200} if topic.startswith("ai") else {}
    mail = letter(topic, order_number=number, **changes)
    assert number in mail.subject
    assert len(mail.subject) <= 200


@pytest.mark.parametrize("topic", TOPICS)
def test_markup_in_names_is_escaped(topic: str) -> None:
    fields = {"customer_name": MARKUP, "product_name": MARKUP, "reason": MARKUP, "subject": MARKUP}
    known = {name: value for name, value in fields.items() if name in sample(topic)}
    items = {"items": [{"product_name": MARKUP, "quantity": 1, "price": 1}]}
    mail = letter(topic, **known, **(items if "items" in sample(topic) else {}))
    assert "<img" not in mail.html
    assert "<script" not in mail.html
    assert "&lt;img" in mail.html
    if "customer_name" in known and not topic.startswith("ai"):
        assert MARKUP in mail.text, "and plain text is not escaped"


@pytest.mark.parametrize("topic", TOPICS)
def test_mail_contains_no_external_resource(topic: str) -> None:
    body = '<p style="background:url(https://evil.example)">x</p><img src=//evil.example><a href=x>'
    changes = {"body_html": body} if topic.startswith("ai") else {}
    html = letter(topic, **changes).html
    assert not re.search(r"https?:|//|src=|href=|url\(|@import|<link|<img", html)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("<p>a</p><script>alert(1)</script>", "<p>a</p>"),
        ("<style>*{}</style><p onclick=x class=y style=z>a</p>", "<p>a</p>"),
        ('<a href="javascript:x">words</a>', "words"),
        ("<b>open", "<b>open</b>"),
        ("<svg><script>1</script></svg><!-- x --><iframe src=x></iframe>", ""),
        ("<table><tr><td>cell</td></tr></table>", "cell"),
        ("</td></tr></table><p>out of the frame</p>", "<p>out of the frame</p>"),
    ],
)
def test_sanitise_keeps_plain_formatting_only(dirty: str, clean: str) -> None:
    assert sanitise(dirty) == clean


def test_to_text_puts_each_block_on_a_line() -> None:
    html = sanitise(
        "<h2>Hello</h2><p>one &amp; two<br>three</p><ul><li>a</li><li>&lt;b&gt;</li></ul>"
    )
    assert to_text(html) == "Hello\none & two\nthree\na\n<b>"
