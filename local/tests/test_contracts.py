"""The contract check: it names each incompatible change and accepts it with a new version.

The tests copy this repository's contracts into a temporary git repository.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from bootstrap import service_folders
from installer import ROOT

from checks import contracts as gate
from checks.compatibility import code
from checks.compatibility.events import EventApi, mistakes
from checks.compatibility.services import Described, EventClass
from checks.compatibility.usage import Usage, usage_of
from fleet.topics import RETENTION_DAYS, TOPICS

Change = Callable[[Any], object]
ORDERS, PLACED = "order-service", "contracts/events/order-placed.v1.schema.json"


class Checkout:
    """A git repository whose main branch contains this repository's contracts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / "contracts", root / "contracts")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("promised")
        self.services = {
            path.stem: Described(path.stem, json.loads(path.read_text()), ())
            for path in (root / gate.APIS).glob("*.json")
        }

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=Alice Example", "-c", "user.email=alice@example.com")
        subprocess.run(["git", "-C", str(self.root), *who, *arguments], check=True)

    def commit(self, what: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", what)

    def change_api(self, change: Change, service: str = ORDERS) -> None:
        """Change the OpenAPI document that the service's code generates."""
        document = copy.deepcopy(self.services[service].openapi)
        change(document)
        self.services[service] = Described(service, document, ())

    def change_schema(self, change: Change, path: str = PLACED) -> None:
        document = json.loads((self.root / path).read_text())
        change(document)
        (self.root / path).write_text(json.dumps(document))

    def change_events(self, change: Change) -> None:
        path = self.root / gate.DOCUMENT
        document = yaml.safe_load(path.read_text())
        change(document)
        path.write_text(yaml.safe_dump(document))

    def write(self) -> list[str]:
        """Run `make contracts`."""
        return gate.write(gate.Contracts(self.root), self.services)

    def check(self) -> str:
        """Run the contract check of `make check`, without the services' sources."""
        return "\n".join(gate.check(gate.Contracts(self.root), self.services, []))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_unchanged_contracts_pass(checkout: Checkout) -> None:
    assert checkout.check() == ""
    assert checkout.write() == []


# -- APIs


def _schema(name: str) -> Callable[[Any], Any]:
    return lambda api: api["components"]["schemas"][name]


def _call(api: Any, method: str, path: str) -> Any:
    return api["paths"][path][method]


def _types_of_problems(api: Any, changed: str) -> None:
    examples = _call(api, "post", "/api/orders")["responses"]["409"]["content"]
    for example in examples["application/problem+json"]["examples"].values():
        if example["value"]["type"] == changed:
            example["value"]["type"] = "/problems/something-else"


_PATH = "/api/orders/{order_id}"
_NEEDED = {"name": "X-Tenant", "in": "header", "required": True, "schema": {"type": "string"}}
BREAKS: dict[str, tuple[Change, str]] = {
    "a member of an answer is gone": (
        lambda api: _schema("OrderOut")(api)["properties"].pop("status"),
        f"GET {_PATH}: answer 200: `status`: is gone",
    ),
    "a member of a request is required": (
        lambda api: _schema("CancelIn")(api).update(required=["reason"]),
        "PATCH /api/orders/{order_id}/cancel: body: `reason`: is required",
    ),
    "a member of a request is gone": (
        lambda api: _schema("OrderIn")(api)["properties"].pop("customer_name"),
        "POST /api/orders: body: `customer_name`: is gone",
    ),
    "a parameter takes fewer values": (
        lambda api: _schema("OrderStatus")(api)["enum"].remove("SHIPPED"),
        "GET /api/orders: parameter status: 'SHIPPED' may be sent and is not known",
    ),
    "an answer has a new value": (
        lambda api: _schema("OrderStatus")(api)["enum"].append("LOST"),
        f"GET {_PATH}: answer 200: `status`: 'LOST' may be sent and is not known",
    ),
    "another type": (
        lambda api: _schema("OrderOut")(api)["properties"].update(id={"type": "integer"}),
        f"GET {_PATH}: answer 200: `id`: integer is sent, string is read",
    ),
    "an operation is gone": (
        lambda api: api["paths"].pop(f"{_PATH}/cancel"),
        f"PATCH {_PATH}/cancel: is gone",
    ),
    "a method is gone": (lambda api: api["paths"][_PATH].pop("get"), f"GET {_PATH}: is gone"),
    "an answer is gone": (
        lambda api: _call(api, "get", _PATH)["responses"].pop("404"),
        f"GET {_PATH}: answer 404 is gone",
    ),
    "a problem is gone": (
        lambda api: _types_of_problems(api, "/problems/price-changed"),
        "POST /api/orders: answer 409: the problem /problems/price-changed is gone",
    ),
    "a parameter is gone": (
        lambda api: _call(api, "get", "/api/orders")["parameters"].pop(0),
        "GET /api/orders: parameter limit is gone",
    ),
    "a parameter is new and required": (
        lambda api: _call(api, "get", _PATH)["parameters"].append(_NEEDED),
        f"GET {_PATH}: parameter X-Tenant is new and required",
    ),
    "a parameter means something else when it is left out": (
        lambda api: _call(api, "get", "/api/orders")["parameters"][0]["schema"].update(default=5),
        "GET /api/orders: parameter limit: left out, it means 5, not 50",
    ),
    "another media type": (
        lambda api: _call(api, "post", "/api/orders")["requestBody"].update(content={}),
        "POST /api/orders: body: application/json is gone",
    ),
    "no body": (
        lambda api: _call(api, "post", "/api/orders").pop("requestBody"),
        "POST /api/orders: takes no body any more",
    ),
    "a body is required": (
        lambda api: _call(api, "patch", f"{_PATH}/cancel")["requestBody"].update(required=True),
        f"PATCH {_PATH}/cancel: a body is required",
    ),
    "a login": (
        lambda api: _call(api, "get", _PATH).update(security=[{"bearer": []}]),
        f"GET {_PATH}: asks for a login",
    ),
}
_NAMES = list(BREAKS)


@pytest.mark.parametrize("name", _NAMES, ids=[name.replace(" ", "-") for name in _NAMES])
def test_incompatible_api_change_needs_new_major_version(checkout: Checkout, name: str) -> None:
    change, sentence = BREAKS[name]
    checkout.change_api(change)
    snapshot = checkout.root / gate.APIS / f"{ORDERS}.json"
    before = snapshot.read_text()
    assert sentence in checkout.check()
    assert any(sentence in line for line in checkout.write())
    assert snapshot.read_text() == before, "the snapshot was written"

    checkout.change_api(lambda api: api["info"].update(version="1.9.0"))
    assert sentence in checkout.check(), "a minor version is not enough"
    checkout.change_api(lambda api: api["info"].update(version="2.0.0"))
    assert checkout.write() == []
    assert checkout.check() == ""


FINE: dict[str, Change] = {
    "a new member of an answer": lambda api: _schema("OrderOut")(api)["properties"].update(new={}),
    "a new operation": lambda api: api["paths"].update({"/api/new": api["paths"]["/health"]}),
    "a new answer": lambda api: _call(api, "get", _PATH)["responses"].update(
        {"410": {"description": "Gone"}}
    ),
    "a parameter that may be left out": lambda api: _call(api, "get", _PATH)["parameters"].append(
        {**_NEEDED, "required": False}
    ),
    "another name of a parameter in the path": lambda api: api.update(
        json.loads(re.sub(r"\border_id\b", "number", json.dumps(api)))
    ),
    "prose": lambda api: _call(api, "get", _PATH).update(description="Otherwise."),
}


@pytest.mark.parametrize("name", FINE, ids=[name.replace(" ", "-") for name in FINE])
def test_compatible_api_change_only_needs_new_snapshot(checkout: Checkout, name: str) -> None:
    checkout.change_api(FINE[name])
    assert checkout.check() == (
        "contracts/openapi/order-service.json differs from the code of order-service: "
        "`make contracts`"
    )
    assert checkout.write() == []
    assert checkout.check() == ""


def test_edited_snapshot_does_not_hide_incompatible_change(checkout: Checkout) -> None:
    """This holds for a commit on a branch too: the baseline is the main branch."""
    checkout.git("checkout", "--quiet", "-b", "branch")
    change, sentence = BREAKS["a member of an answer is gone"]
    checkout.change_api(change)
    snapshot = checkout.root / gate.APIS / f"{ORDERS}.json"
    snapshot.write_text(gate.text_of(checkout.services[ORDERS].openapi))
    assert sentence in checkout.check()
    checkout.commit("hidden")
    assert sentence in checkout.check()
    checkout.git("checkout", "--quiet", "main")
    checkout.git("merge", "--quiet", "branch")
    assert sentence in checkout.check(), "a merge into main does not hide it either"


def test_contract_of_unmerged_branch_may_change(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "-b", "branch")
    checkout.change_api(FINE["a new member of an answer"])
    checkout.write()
    checkout.commit("an attempt")
    checkout.change_api(lambda api: _schema("OrderOut")(api)["properties"].pop("new"))
    assert checkout.write() == []
    assert checkout.check() == ""


def test_snapshot_is_baseline_without_git(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / ".git")
    change, sentence = BREAKS["an operation is gone"]
    checkout.change_api(change)
    assert any(sentence in line for line in checkout.write())
    assert not gate.Contracts(checkout.root).history.whole()


def test_incompatible_change_names_affected_callers(checkout: Checkout) -> None:
    """order-service calls some of inventory-service's operations (contracts/http)."""
    path = "/api/inventory/{product_id}/check"
    checkout.change_api(lambda api: api["paths"].pop(path), "inventory-service")
    whom = "inventory-service breaks callers of the gateway and order-service: "
    assert f"{whom}GET {path}: is gone" in checkout.check()
    path = "/api/inventory/{product_id}/restock"
    checkout.change_api(lambda api: api["paths"].pop(path), "inventory-service")
    whom = "inventory-service breaks callers of the gateway: "
    assert f"{whom}PATCH {path}: is gone" in checkout.check()


def test_snapshot_of_removed_service_fails(checkout: Checkout) -> None:
    del checkout.services["ai-service"]
    assert "contracts/openapi/ai-service.json: there is no such service" in checkout.check()
    checkout.write()
    assert checkout.check() == ""


# -- events


def _items(schema: Any) -> Any:
    return schema["properties"]["items"]["items"]


PAYLOADS: dict[str, tuple[Change, str]] = {
    "a required member is gone": (
        lambda schema: schema["properties"].pop("customer_email"),
        "`customer_email`: is gone",
    ),
    "a member is optional": (
        lambda schema: schema["required"].remove("customer_email"),
        "`customer_email`: is required by who reads it, and not always sent",
    ),
    "another type": (
        lambda schema: _items(schema)["properties"].update(price={"type": "string"}),
        "`items[].price`: string is sent, number is read",
    ),
    "null": (
        lambda schema: schema["properties"]["order_number"].update(type=["string", "null"]),
        "`order_number`: null is sent, string is read",
    ),
    "longer": (
        lambda schema: schema["properties"]["order_number"].update(maxLength=80),
        "`order_number`: maxLength 40 is relied on, 80 is what is sent",
    ),
    "another version in the same file": (
        lambda schema: schema["properties"]["event_version"].update(const=2),
        "`event_version`: 2 may be sent and is not known",
    ),
}


@pytest.mark.parametrize("name", PAYLOADS, ids=[name.replace(" ", "-") for name in PAYLOADS])
def test_incompatible_event_change_names_consumer(checkout: Checkout, name: str) -> None:
    change, sentence = PAYLOADS[name]
    checkout.change_schema(change)
    api = gate.Contracts(checkout.root).event_api()
    found = gate.broken_consumers(gate.Contracts(checkout.root), api)
    assert f"order-placed.v1 breaks ai-service, notification-service: {sentence}" in "\n".join(
        found
    )
    checkout.change_events(lambda document: document["info"].update(version="2.0.0"))
    api = gate.Contracts(checkout.root).event_api()
    assert gate.broken_consumers(gate.Contracts(checkout.root), api) == found, (
        "an event without any version"
    )


def test_event_enum_may_shrink_but_not_grow(checkout: Checkout) -> None:
    reasons = {"enum": ["CUSTOMER", "SHOP"]}
    path = "contracts/events/order-cancelled.v1.schema.json"

    def allow(reasons: Any) -> None:
        checkout.change_schema(lambda schema: schema["properties"].update(why=reasons), path)

    allow(reasons)
    assert checkout.check() == "", "a new optional member is compatible"
    checkout.commit("promised")
    allow({"enum": ["CUSTOMER"]})
    assert checkout.check() == ""
    allow({"enum": ["CUSTOMER", "SHOP", "NOBODY"]})
    assert "breaks notification-service: `why`: 'NOBODY' may be sent" in checkout.check()


def test_new_event_version_needs_consumers_that_know_it(checkout: Checkout) -> None:
    schema = json.loads((checkout.root / PLACED).read_text())
    schema["properties"]["event_version"]["const"] = 2
    schema["properties"]["items"] = {"type": "string"}
    (checkout.root / PLACED.replace(".v1", ".v2")).write_text(json.dumps(schema))

    def announce(document: Any) -> None:
        message = copy.deepcopy(document["components"]["messages"]["order-placed.v1"])
        message["payload"] = {"$ref": "./events/order-placed.v2.schema.json"}
        document["components"]["messages"]["order-placed.v2"] = message
        there = document["channels"]["order-placed"]["messages"]
        there["order-placed.v2"] = {"$ref": "#/components/messages/order-placed.v2"}
        _know(document, operation="order-service.sends.order-placed")

    checkout.change_events(announce)
    said = "order-placed.v2 is sent, which ai-service does not receive"
    assert said in checkout.check()
    receiving = [
        *("ai-service.receives.order-placed", "ai-service.follows.order-placed"),
        "notification-service.receives.order-placed",
    ]
    for name in receiving:
        checkout.change_events(partial(_know, operation=name))
    assert checkout.check() == ""


def _know(document: Any, operation: str) -> None:
    reference = "#/channels/order-placed/messages/order-placed.v2"
    document["operations"][operation]["messages"].append({"$ref": reference})


def _without_mail_sent(document: Any) -> None:
    del document["channels"]["mail-sent"]
    for name in [each for each in document["operations"] if each.endswith(".mail-sent")]:
        del document["operations"][name]


def _kafka_of(document: Any, message: str) -> Any:
    return document["components"]["messages"][message]["bindings"]["kafka"]


TOPIC_BREAKS: dict[str, tuple[Change, str]] = {
    "a topic is gone": (_without_mail_sent, "mail-sent is gone"),
    "fewer partitions": (
        lambda document: document["channels"]["order-placed"]["bindings"]["kafka"].update(
            partitions=1
        ),
        "order-placed: 1 partitions, not 3",
    ),
    "another key": (
        lambda document: _kafka_of(document, "mail-sent")["key"].update({"x-member": "sent_at"}),
        "mail-sent, mail-sent (for notification-service): another key",
    ),
    "a header is gone": (
        lambda document: document["components"]["schemas"]["dead-letter-headers"]["properties"].pop(
            "x-attempts"
        ),
        "(for make dlq): header `x-attempts`: is gone",
    ),
    "a payload of its own changes": (
        lambda document: document["components"]["messages"]["dead-letter-done"]["payload"][
            "properties"
        ]["state"]["enum"].append("lost"),
        "(for make dlq): `state`: 'lost' may be sent",
    ),
}


@pytest.mark.parametrize(
    "name", TOPIC_BREAKS, ids=[name.replace(" ", "-") for name in TOPIC_BREAKS]
)
def test_incompatible_topic_change_needs_new_document_version(
    checkout: Checkout, name: str
) -> None:
    change, sentence = TOPIC_BREAKS[name]
    checkout.change_events(change)
    assert sentence in checkout.check()
    checkout.change_events(lambda document: document["info"].update(version="2.0.0"))
    assert sentence not in checkout.check()


# -- the document and the code


@pytest.fixture
def api(checkout: Checkout) -> EventApi:
    return gate.Contracts(checkout.root).event_api()


MISTAKES: dict[str, tuple[Change, str]] = {
    "a word that AsyncAPI does not know": (
        lambda document: document["channels"]["order-placed"].update(adress="x"),
        "order-placed",
    ),
    "a message that is not there": (
        lambda document: document["components"]["messages"].pop("mail-sent"),
        "mail-sent",
    ),
    "a schema that is not there": (
        lambda document: document["components"]["messages"]["order-placed.v1"].update(
            payload={"$ref": "./events/order-placed.v9.schema.json"}
        ),
        "order-placed.v9",
    ),
    "message without sender": (
        lambda document: document["operations"].pop("notification-service.sends.mail-sent"),
        "mail-sent: no service sends",
    ),
    "channel without receiver": (
        lambda document: document["operations"].pop("notification-service.follows.mail-sent"),
        "mail-sent: no service receives",
    ),
    "a key that the payload has not": (
        lambda document: _kafka_of(document, "order-placed.v1")["key"].update({"x-member": "sku"}),
        "its key is sku",
    ),
    "a key that the schema does not tell": (
        lambda document: _kafka_of(document, "order-placed.v1")["key"].update(
            {"x-member": "order_number"}
        ),
        "which its schema's description does not say",
    ),
    "the schema of another event": (
        lambda document: document["components"]["messages"]["order-placed.v1"].update(name="X"),
        "its schema is that of ORDER_PLACED, version 1",
    ),
}


@pytest.mark.parametrize("name", MISTAKES, ids=[name.replace(" ", "-") for name in MISTAKES])
def test_inconsistent_asyncapi_document_is_refused(api: EventApi, name: str) -> None:
    change, said = MISTAKES[name]
    assert mistakes(api) == []
    change(api.document)
    assert said in "\n".join(mistakes(EventApi(api.document, api.files)))


def test_described_topics_match_created_topics(api: EventApi) -> None:
    assert code.differing_topics(api, TOPICS, RETENTION_DAYS) == []
    other = {**TOPICS, "new": 3, "order-placed": 6}
    del other["mail-sent"]
    assert code.differing_topics(api, other, RETENTION_DAYS) == [
        "mail-sent is described and not created",
        "new is created and not described",
        "order-placed: partitions and days are (6, 7), not (3, 7.0)",
    ]


def test_described_operations_match_source_code(api: EventApi, tmp_path: Path) -> None:
    used = {folder.name: usage_of(folder, TOPICS) for folder in service_folders()}
    assert code.differing_use(api, used) == []
    source = tmp_path / "shop" / "app" / "kafka.py"
    source.parent.mkdir(parents=True)
    source.write_text(
        'TOPIC = "order-placed"\n'
        'producer.send("mail-sent", key)\n'
        "Subscription(TOPIC, OrderPlaced, handle)\n"
        'AIOKafkaConsumer("inventory-low")\n'
        'RetryTopics(("mail-retry-1", "mail-retry-2"), publish)\n'
    )
    usage = usage_of(source.parents[1], TOPICS)
    retries = {"mail-retry-1", "mail-retry-2"}
    assert usage == Usage({"mail-sent"}, {"order-placed"}, {"inventory-low"}, retries)
    assert code.differing_use(api, {"ai-service": usage}) == [
        "ai-service follows inventory-low: not described",
        "ai-service follows order-placed: not in its code",
        "ai-service receives mail-retry-1: not described",
        "ai-service receives mail-retry-2: not described",
        "ai-service sends ai-notification-ready: not in its code",
        "ai-service sends mail-retry-1: not described",
        "ai-service sends mail-retry-2: not described",
        "ai-service sends mail-sent: not described",
    ]


def _class(schema: Any, event_type: str = "ORDER_PLACED", *, makes: bool = True) -> EventClass:
    return EventClass("some-service", "OrderPlaced", event_type, makes, schema)


def test_producer_class_differing_from_schema_is_found(api: EventApi) -> None:
    schema = copy.deepcopy(api.files["./events/order-placed.v1.schema.json"])
    assert code.differing_classes(api, [_class(schema)]) == []
    del schema["properties"]["customer_email"]
    schema["properties"]["total_amount"] = {"type": "string"}
    schema["properties"]["secret"] = {"type": "string"}
    assert code.differing_classes(api, [_class(schema)]) == [
        "some-service, OrderPlaced: `secret`: not in the schema",
        "some-service, OrderPlaced: `customer_email`: is gone",
        "some-service, OrderPlaced: `total_amount`: string is sent, number is read",
    ]
    assert code.differing_classes(api, [_class(schema, "NEVER")]) == [
        "some-service, OrderPlaced: no message is a NEVER, version 1"
    ]


def test_class_of_undescribed_version_is_found(api: EventApi) -> None:
    schema = copy.deepcopy(api.files["./events/order-placed.v1.schema.json"])
    schema["properties"]["event_version"]["const"] = 2
    assert code.differing_classes(api, [_class(schema)]) == [
        "some-service, OrderPlaced: no message is a ORDER_PLACED, version 2"
    ]


def test_consumer_requiring_optional_member_is_found(api: EventApi) -> None:
    schema = copy.deepcopy(api.files["./events/order-placed.v1.schema.json"])
    del schema["properties"]["total_amount"]
    schema["required"].remove("total_amount")
    assert code.differing_classes(api, [_class(schema, makes=False)]) == [], (
        "a consumer may require less"
    )
    schema["properties"]["colour"] = {"type": "string"}
    schema["properties"]["order_number"]["maxLength"] = 20
    assert code.differing_classes(api, [_class(schema, makes=False)]) == [
        "some-service, OrderPlaced: `colour`: is gone",
        "some-service, OrderPlaced: `order_number`: maxLength 20 is relied on, 40 is what is sent",
    ]


def test_described_dead_letter_headers_match_code(api: EventApi) -> None:
    from chassis.kafka import dead_letters

    headers = api.document["components"]["schemas"]["dead-letter-headers"]["properties"]
    assert set(headers) == {*dead_letters._OURS, "traceparent"}
    events = api.document["components"]["schemas"]["event-headers"]["properties"]
    assert set(events) == {dead_letters.REPLAY_GROUP, "traceparent"}
