"""The producers' golden samples and schemas, decoded with the models of this service.

Promise 21: an unknown field is ignored, a missing one makes a dead letter, nothing crashes.
"""

import json
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from prometheus_client import CollectorRegistry
from tests.fakes import FakeDeliveryLog, FakeMailer
from tests.samples import TOPICS, encoded, sample, schema

from app.kafka.consumer import subscriptions
from app.services.email_service import EmailService
from app.services.email_templates import EmailTemplates
from chassis.kafka.dead_letters import Unreadable
from chassis.kafka.message_processor import Subscription, read


class Scene:
    def __init__(self) -> None:
        self.mailer = FakeMailer()
        templates = EmailTemplates("Demo Shop <shop@example.com>", "stock@example.com")
        service = EmailService(templates, self.mailer, FakeDeliveryLog(), CollectorRegistry())
        self.routes: dict[str, Subscription[Any]] = {r.topic: r for r in subscriptions(service)}

    async def consume(self, topic: str, value: bytes) -> None:
        route = self.routes[topic]
        await route.handle(read(route.model, value))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_every_topic_of_the_contract_has_a_handler(scene: Scene) -> None:
    assert set(scene.routes) == set(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
async def test_golden_sample_is_valid_and_is_mailed(scene: Scene, topic: str) -> None:
    golden = sample(topic)
    jsonschema.validate(golden, schema(topic))
    await scene.consume(topic, encoded(golden))
    (mail,) = scene.mailer.mails
    assert mail.event_id == UUID(golden["event_id"])
    assert mail.event_type == golden["event_type"]
    assert mail.recipient == golden.get("customer_email", "stock@example.com")
    assert golden.get("order_number", "Wireless Headphones") in mail.subject


@pytest.mark.parametrize("topic", TOPICS)
async def test_unknown_fields_are_ignored(scene: Scene, topic: str) -> None:
    event = sample(topic, new_field={"deep": [1, None]}, event_version=1)
    for item in event.get("items", []):
        item["colour"] = "blue"
    await scene.consume(topic, encoded(event))
    assert len(scene.mailer.mails) == 1


@pytest.mark.parametrize(
    ("topic", "field"), [(topic, field) for topic in TOPICS for field in schema(topic)["required"]]
)
async def test_event_without_a_required_field_is_unreadable(
    scene: Scene, topic: str, field: str
) -> None:
    event = sample(topic)
    del event[field]
    with pytest.raises(Unreadable, match=f"{field}: missing"):
        await scene.consume(topic, encoded(event))
    assert scene.mailer.mails == []


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": "7"},
        {"event_type": "SOMETHING_ELSE"},
        {"event_version": 2},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-11-23T09:30:00"},
    ],
)
async def test_event_with_an_invalid_envelope_is_unreadable(
    scene: Scene, topic: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(Unreadable):
        await scene.consume(topic, encoded(sample(topic, **changes)))


@pytest.mark.parametrize(
    "address",
    ["", "alice", "a b@example.com", "alice@example.com\r\nBcc: x@example.com", "<a@b>", "a@b,c@d"],
)
async def test_invalid_address_is_unreadable_and_not_quoted(scene: Scene, address: str) -> None:
    event = sample("order-placed", customer_email=address)
    with pytest.raises(Unreadable) as caught:
        await scene.consume("order-placed", encoded(event))
    assert str(caught.value) == "customer_email: value_error"


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"\xff", b'{"price": NaN}', b'"\\ud800"'])
async def test_invalid_json_is_unreadable(scene: Scene, value: bytes) -> None:
    for topic in TOPICS:
        with pytest.raises(Unreadable):
            await scene.consume(topic, value)


@pytest.mark.parametrize("topic", TOPICS)
async def test_largest_values_of_the_schema_are_mailed(scene: Scene, topic: str) -> None:
    event = sample(topic) | {
        name: ("x" * (rule["maxLength"] - 12) + "@example.com")[: rule["maxLength"]]
        for name, rule in schema(topic)["properties"].items()
        if "maxLength" in rule
    }
    jsonschema.validate(event, schema(topic))
    await scene.consume(topic, json.dumps(event).encode())
    assert len(scene.mailer.mails) == 1
