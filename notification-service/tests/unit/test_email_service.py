"""EmailService on fakes: sent and recorded mails, and their MIME messages."""

import asyncio
import email
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry
from tests.fakes import FakeDeliveryLog, FakeMailer
from tests.samples import encoded, sample

from app.errors import MailServerDown, RecipientRefused
from app.events import AiNotificationReady, InventoryLow, OrderCancelled, OrderPlaced
from app.mail import Mail, Sender, one_line, smtp_address, to_message
from app.services.email_service import EmailService
from app.services.email_templates import EmailTemplates
from chassis.kafka.errors import BrokerUnavailable

ORDER_PLACED = OrderPlaced.model_validate_json(encoded(sample("order-placed")))
FOLLOW_UP = AiNotificationReady.model_validate_json(encoded(sample("ai-notification-ready")))
SENDER = Sender.of("Demo Shop <shop@example.com>")
HOSTILE_TEXTS = (
    "Alice\r\nBcc: everyone@example.com",
    "Alice\nX-Evil: 1\n\nBody",
    "Alice\r\n\r\n<script>",
    "a\x00b\x1b[31m\x85c\u2028d\u2029e\x0bf\x0cg",
    '"Alice" <other@example.com>, x',
    "=?utf-8?q?Alice=0D=0ABcc:_x@example.com?=",
    "Zoë 北京 🛒 " * 12,
    "x" * 500,
)


class Setup:
    def __init__(self) -> None:
        self.mailer, self.log = FakeMailer(), FakeDeliveryLog()
        self.registry = CollectorRegistry()
        templates = EmailTemplates("shop@example.com", "stock@example.com")
        self.service = EmailService(templates, self.mailer, self.log, self.registry)

    def metric(self, name: str, event_type: str = "ORDER_PLACED") -> float | None:
        return self.registry.get_sample_value(name, {"event_type": event_type})


@pytest.fixture
def setup() -> Setup:
    return Setup()


def send_all(service: EmailService, events: list[Any]) -> list[Awaitable[None]]:
    return [service.send_order_confirmation(event) for event in events]


def copies(count: int) -> list[OrderPlaced]:
    """Events that differ in their ids only."""
    return [ORDER_PLACED.model_copy(update={"event_id": uuid4()}) for _ in range(count)]


async def test_send_records_the_mail_after_it_is_sent(setup: Setup) -> None:
    await setup.service.send_order_confirmation(ORDER_PLACED)
    assert [mail.event_id for mail in setup.mailer.mails] == [ORDER_PLACED.event_id]
    assert setup.log.recorded == [ORDER_PLACED.event_id]


@pytest.mark.parametrize(
    ("topic", "model", "send", "recipient"),
    [
        ("order-placed", OrderPlaced, EmailService.send_order_confirmation, "alice@example.com"),
        (
            "order-cancelled",
            OrderCancelled,
            EmailService.send_order_cancellation,
            "alice@example.com",
        ),
        ("inventory-low", InventoryLow, EmailService.send_low_stock_alert, "stock@example.com"),
        (
            "ai-notification-ready",
            AiNotificationReady,
            EmailService.send_follow_up,
            "alice@example.com",
        ),
    ],
)
async def test_each_event_is_mailed_to_its_recipient(
    setup: Setup,
    topic: str,
    model: type[Any],
    send: Callable[[EmailService, Any], Awaitable[None]],
    recipient: str,
) -> None:
    event = model.model_validate_json(encoded(sample(topic)))
    await send(setup.service, event)
    (mail,) = setup.mailer.mails
    assert (mail.recipient, mail.event_type) == (recipient, event.event_type)
    assert setup.metric("mails_sent_total", event.event_type) == 1


async def test_send_of_a_repeated_event_is_skipped_and_counted(setup: Setup) -> None:
    """Promise 24."""
    for _ in range(5):
        await setup.service.send_order_confirmation(ORDER_PLACED)
    assert len(setup.mailer.mails) == 1
    assert setup.metric("mails_skipped_total") == 4


async def test_send_concurrent_repeats_of_an_event_mails_it_once(setup: Setup) -> None:
    await asyncio.gather(*send_all(setup.service, [ORDER_PLACED] * 10))
    assert len(setup.mailer.mails) == 1
    assert setup.metric("mails_sent_total") == 1


async def test_delay_is_measured_once_for_a_repeated_event(setup: Setup) -> None:
    recent = ORDER_PLACED.model_copy(update={"timestamp": datetime.now(UTC) - timedelta(seconds=2)})
    for _ in range(3):
        await setup.service.send_order_confirmation(recent)
    assert setup.metric("mail_delay_seconds_count") == 1
    delay = setup.metric("mail_delay_seconds_sum")
    assert delay is not None
    assert 2 <= delay < 5


async def test_delay_of_an_event_from_a_fast_clock_is_zero(setup: Setup) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await setup.service.send_order_confirmation(
        ORDER_PLACED.model_copy(update={"timestamp": later})
    )
    assert setup.metric("mail_delay_seconds_sum") == 0


async def test_failed_mail_is_not_recorded_and_can_be_sent_again(setup: Setup) -> None:
    setup.mailer.errors = [MailServerDown("no connection")]
    with pytest.raises(MailServerDown):
        await setup.service.send_order_confirmation(ORDER_PLACED)
    assert not setup.log.contains(ORDER_PLACED.event_id)
    await setup.service.send_order_confirmation(ORDER_PLACED)
    assert len(setup.mailer.mails) == 1


async def test_failed_mail_releases_the_lock_for_the_next_mail(setup: Setup) -> None:
    setup.mailer.errors = [RecipientRefused("550")]
    refused, other = copies(2)
    results = await asyncio.gather(
        *send_all(setup.service, [refused, other]), return_exceptions=True
    )
    assert [type(result) for result in results] == [RecipientRefused, type(None)]
    assert setup.log.recorded == [other.event_id]


async def test_record_that_fails_is_written_later_without_a_second_mail(setup: Setup) -> None:
    """Promise 24: the broker becomes unavailable just after the mail server accepted the mail."""
    setup.log.errors = [BrokerUnavailable("away")] * 3
    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            await setup.service.send_order_confirmation(ORDER_PLACED)
    await setup.service.send_order_confirmation(ORDER_PLACED)
    assert len(setup.mailer.mails) == 1
    assert setup.log.recorded == [ORDER_PLACED.event_id]


async def test_no_mail_is_sent_before_the_previous_one_is_recorded(setup: Setup) -> None:
    """Promise 24: a crash duplicates one mail at most, whatever the number of partitions."""
    setup.log.errors = [BrokerUnavailable("away")] * 20
    events = copies(10)
    results = await asyncio.gather(*send_all(setup.service, events), return_exceptions=True)
    assert all(isinstance(result, BrokerUnavailable) for result in results)
    assert len(setup.mailer.mails) == 1
    setup.log.errors = []
    await asyncio.gather(*send_all(setup.service, events))
    assert len(setup.mailer.mails) == len(setup.log.recorded) == 10


async def test_order_confirmation_is_sent_before_waiting_follow_ups(setup: Setup) -> None:
    follow_ups = [FOLLOW_UP.model_copy(update={"event_id": uuid4()}) for _ in range(4)]
    await asyncio.gather(
        *(setup.service.send_follow_up(event) for event in follow_ups),
        setup.service.send_order_confirmation(ORDER_PLACED),
    )
    kinds = [mail.event_type for mail in setup.mailer.mails]
    assert kinds.index("ORDER_PLACED") == 1, "after the follow-up that was being sent"


# -- the MIME message


def mail(**changes: Any) -> Mail:
    fields: dict[str, Any] = {
        "event_id": UUID("0b8e3a52-5c1f-4f6e-9d3a-000000000001"),
        "event_type": "ORDER_PLACED",
        "recipient": "alice@example.com",
        "subject": "Your order ORD-1 is confirmed",
        "text": "Thank you, Zoë\n.\nThe line before holds a single dot.\n",
        "html": "<p>Thank you, Zoë</p>\n",
    }
    return Mail(**fields | changes)


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_message_headers_identify_the_event() -> None:
    message = parsed(to_message(mail(), SENDER))
    assert message["X-Event-Id"] == "0b8e3a52-5c1f-4f6e-9d3a-000000000001"
    assert message["X-Event-Type"] == "ORDER_PLACED"
    assert message["Message-ID"] == "<0b8e3a52-5c1f-4f6e-9d3a-000000000001@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert str(message["From"]) == SENDER.header
    assert str(message["To"]) == "alice@example.com"


def test_message_date_is_now() -> None:
    date = parsed(to_message(mail(), SENDER))["Date"].datetime
    assert abs(datetime.now(UTC) - date) < timedelta(minutes=1)


def test_message_has_a_text_and_an_html_part() -> None:
    message = parsed(to_message(mail(), SENDER))
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == mail().text
    assert html.get_content().replace("\r\n", "\n") == mail().html


@pytest.mark.parametrize("line", ["x" * 100, "x" * 2_000, "Zoë " * 500, "a\r\n.\r\nb", "=?"])
def test_message_body_survives_long_lines_and_any_character(line: str) -> None:
    raw = to_message(mail(text=f"{line}\n"), SENDER)
    text = parsed(raw).get_body(("plain",))
    assert text is not None
    assert text.get_content().strip().splitlines() == line.strip().splitlines()
    assert raw.isascii()
    assert all(len(each) <= 998 for each in raw.split(b"\r\n"))


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_message_with_hostile_subject_has_no_further_header(text: str) -> None:
    expected = {name.lower() for name in parsed(to_message(mail(), SENDER))}
    raw = to_message(mail(subject=text, event_type=text), SENDER)
    message = parsed(raw)
    assert {name.lower() for name in message} == expected
    assert str(message["To"]) == "alice@example.com"
    assert len(message.get_all("Subject", [])) == 1
    assert raw.isascii()
    assert all(len(line) <= 998 and b"\r" not in line for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize("subject", ["Zoë 北京 🛒 " * 10, "plain", "x" * 200])
def test_message_subject_is_unchanged_after_parsing(subject: str) -> None:
    message = parsed(to_message(mail(subject=subject), SENDER))
    assert message["Subject"] == one_line(subject)


def test_message_subject_is_limited_to_200_characters() -> None:
    assert len(parsed(to_message(mail(subject="y" * 300), SENDER))["Subject"]) == 200


def test_sender_may_have_a_name_with_any_characters() -> None:
    message = parsed(to_message(mail(), Sender.of('"Łódź, Shop" <shop@example.com>')))
    (address,) = message["From"].addresses
    assert (address.display_name, address.addr_spec) == ("Łódź, Shop", "shop@example.com")


def test_message_recipient_is_unchanged_for_every_address_of_html_forms() -> None:
    """A folded To header would lose the quotes of an address."""
    characters = "abcXYZ019.!#$%&'*+/=?^_`{|}~-" + "." * 8
    for _ in range(300):
        local = "".join(random.choices(characters, k=random.choice((1, 3, 20, 64, 200))))
        address = f"{local}@{random.choice(('example.com', 'x.test', 'localhost'))}"
        if "=?" in address:
            continue
        raw = to_message(mail(recipient=address), SENDER)
        assert email.message_from_bytes(raw)["To"].strip() == smtp_address(address)


@pytest.mark.parametrize("local", ["=?utf-8?q?a=0D=0ABcc=3A_x=40y.test?=", "a=?us-ascii?q?b?="])
def test_message_to_an_address_like_an_encoded_word_has_no_further_header(local: str) -> None:
    """EmailMessage would decode it, line breaks included."""
    expected = {name.lower() for name in parsed(to_message(mail(), SENDER))}
    message = parsed(to_message(mail(recipient=f"{local}@example.com"), SENDER))
    assert {name.lower() for name in message} == expected
    assert message["To"] == "undisclosed-recipients:;"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("alice@example.com", "alice@example.com"),
        ("a..b@example.com", '"a..b"@example.com'),
        (".a@example.com", '".a"@example.com'),
        ("a.@example.com", '"a."@example.com'),
    ],
)
def test_smtp_address_quotes_an_unusual_local_part(address: str, expected: str) -> None:
    assert smtp_address(address) == expected
