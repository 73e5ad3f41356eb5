"""Once for each event: what is sent, remembered and recorded, on fakes."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from tests.fakes import FakeMailer, FakeSentMails
from tests.samples import encoded, sample

from app.errors import MailServerDown
from app.events import AiNotificationReady, OrderPlaced
from app.services.email_templates import Letters
from app.services.notification_service import NotificationService
from chassis.kafka.errors import BrokerUnavailable

EVENT = OrderPlaced.model_validate_json(encoded(sample("order-placed")))


class Scene:
    def __init__(self) -> None:
        self.mailer, self.sent = FakeMailer(), FakeSentMails()
        self.registry = CollectorRegistry()
        letters = Letters("shop@example.com", "stock@example.com")
        self.service = NotificationService(letters, self.mailer, self.sent, self.registry)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_an_event_is_mailed_and_then_recorded(scene: Scene) -> None:
    await scene.service.order_placed(EVENT)
    assert [mail.event_id for mail in scene.mailer.mails] == [EVENT.event_id]
    assert scene.sent.recorded == [EVENT.event_id]


async def test_an_event_that_comes_again_is_skipped_and_counted(scene: Scene) -> None:
    """Promise 24."""
    for _ in range(5):
        await scene.service.order_placed(EVENT)
    assert len(scene.mailer.mails) == 1
    skipped = scene.registry.get_sample_value("mails_skipped_total", {"event_type": "ORDER_PLACED"})
    assert skipped == 4


async def test_the_time_from_the_event_to_its_mail_is_measured_once(scene: Scene) -> None:
    recent = EVENT.model_copy(update={"timestamp": datetime.now(UTC) - timedelta(seconds=2)})
    for _ in range(3):
        await scene.service.order_placed(recent)
    labels = {"event_type": "ORDER_PLACED"}
    assert scene.registry.get_sample_value("mail_delay_seconds_count", labels) == 1
    waited = scene.registry.get_sample_value("mail_delay_seconds_sum", labels)
    assert waited is not None
    assert 2 <= waited < 5


async def test_what_was_not_mailed_is_not_recorded(scene: Scene) -> None:
    scene.mailer.errors = [MailServerDown("no connection")]
    with pytest.raises(MailServerDown):
        await scene.service.order_placed(EVENT)
    assert not scene.sent.knows(EVENT.event_id)
    await scene.service.order_placed(EVENT)
    assert len(scene.mailer.mails) == 1


async def test_a_record_that_fails_is_tried_again_without_a_second_mail(scene: Scene) -> None:
    """Promise 24: the broker goes away just after the mail server has said yes."""
    scene.sent.errors = [BrokerUnavailable("away")] * 3
    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            await scene.service.order_placed(EVENT)
    await scene.service.order_placed(EVENT)
    assert len(scene.mailer.mails) == 1
    assert scene.sent.recorded == [EVENT.event_id]


async def test_no_other_mail_goes_before_the_last_one_is_recorded(scene: Scene) -> None:
    """Promise 24: so that a crash doubles one mail at most, however many partitions there are."""
    scene.sent.errors = [BrokerUnavailable("away")] * 20
    others = [EVENT.model_copy(update={"event_id": uuid4()}) for _ in range(10)]
    results = await asyncio.gather(
        *(scene.service.order_placed(event) for event in others), return_exceptions=True
    )
    assert all(isinstance(result, BrokerUnavailable) for result in results)
    assert len(scene.mailer.mails) == 1
    scene.sent.errors = []
    await asyncio.gather(*(scene.service.order_placed(event) for event in others))
    assert len(scene.mailer.mails) == len(scene.sent.recorded) == 10


async def test_a_confirmation_does_not_wait_for_follow_ups(scene: Scene) -> None:
    follow_up = AiNotificationReady.model_validate_json(encoded(sample("ai-notification-ready")))
    later = [follow_up.model_copy(update={"event_id": uuid4()}) for _ in range(4)]
    await asyncio.gather(
        *(scene.service.ai_follow_up(event) for event in later), scene.service.order_placed(EVENT)
    )
    kinds = [mail.event_type for mail in scene.mailer.mails]
    assert kinds.index("ORDER_PLACED") == 1, "after the one that was under way"
