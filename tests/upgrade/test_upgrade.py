"""Today's services on the data of a released version, and the contracts of both versions.

Idempotency keys expire after 24 hours, so the recorded ones are dated to the start of the test, as
in a deployment that takes minutes. Nothing else of the recording is changed.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from checks.compatibility import openapi
from tests.fleet_under_test import Fleet, Shop, until
from tests.upgrade.stores import (
    CONTRACTS,
    DATABASES,
    EVENT_TOPICS,
    GOLDEN,
    SENT_MAILS,
    Message,
    database_url,
    load_database,
    load_products,
    query,
    read_messages,
    send_messages,
)

VERSIONS = sorted(path.name for path in GOLDEN.iterdir())
REVERSED = "reversed"  # the key of a reduction that the release has reversed


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to the released version, and its response."""

    service: str
    call: str
    key: str | None
    body: Any
    status: int
    response: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Today's fleet on the released version's data.

    Attributes:
        unpublished: the events that were in the outboxes when today's services started.
    """

    version: Path
    fleet: Fleet
    shop: Shop
    unpublished: list[Mapping[str, Any]]

    @property
    def exchanges(self) -> list[Exchange]:
        return [Exchange(**one) for one in load(self.version / "exchanges.json")]

    @property
    def messages(self) -> list[Message]:
        messages: list[Message] = load(self.version / "messages.json")
        return messages

    async def send(self, exchange: Exchange, key: str | None) -> httpx2.Response:
        method, path = exchange.call.split(" ")
        url = self.fleet.url(exchange.service) + path
        headers = {"Idempotency-Key": key} if key else {}
        return await self.shop.http.request(method, url, json=exchange.body, headers=headers)

    async def rows(self, database: str, statement: str) -> list[Any]:
        return await query(database_url(self.fleet.ports, database), statement)


def load(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Path:
    return GOLDEN / str(request.param)


@pytest.fixture(scope="module")
async def upgrade(version: Path) -> AsyncIterator[Upgrade]:
    """Fill the servers as the release left them, then start today's services."""
    fleet = Fleet()
    try:
        for server in ("postgres", "mongo", "kafka"):
            fleet("restart", server)
        unpublished: list[Mapping[str, Any]] = []
        for database in DATABASES:
            url = database_url(fleet.ports, database)
            await load_database(url, (version / f"{database}.sql").read_text("utf-8"))
            unpublished += await query(
                url,
                "SELECT event_id::text, topic, key FROM public.outbox WHERE published_at IS NULL",
            )
        age = "UPDATE public.idempotency_keys SET created_at = clock_timestamp()"
        await query(database_url(fleet.ports, "order_db"), age)
        await load_products(fleet.ports, (version / "products.json").read_text("utf-8"))
        messages = load(version / "messages.json")
        await send_messages(fleet.kafka, [m for m in messages if was_seen_as_mailed(m)])
        await fleet.run("up")
        shop = Shop(fleet)
        yield Upgrade(version, fleet, shop, unpublished)
        await shop.http.aclose()
    finally:
        fleet.remove()


def was_seen_as_mailed(message: Message) -> bool:
    """False for the record of a mail for another topic than order-placed: that mail is lost.

    So the messages of one topic were mailed by the release, and those of the others were not.
    """
    return message["topic"] != SENT_MAILS or _event_type(message) == "ORDER_PLACED"


def _event_type(message: Message) -> str:
    return str(json.loads(message["value"])["event_type"])


def contains(new: Any, old: Any) -> bool:
    """Return True if `new` has all of `old`; objects may have further members."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(
            name in new and contains(new[name], value) for name, value in old.items()
        )
    if isinstance(old, list):
        pairs = zip(new, old, strict=True)
        return len(new) == len(old) and all(contains(*pair) for pair in pairs)
    return bool(new == old)


async def test_promise_65_each_key_replays_its_first_response(upgrade: Upgrade) -> None:
    """Promise 65: byte for byte, from both databases, and marked as a replay."""
    keyed = [one for one in upgrade.exchanges if one.key not in (None, REVERSED)]
    keyed += [one for one in upgrade.exchanges if "/reverse" in one.call]
    assert {one.service for one in keyed} == {"order-service", "inventory-service"}
    for exchange in keyed:
        again = await upgrade.send(exchange, exchange.key)
        assert (again.status_code, again.text) == (exchange.status, exchange.response), exchange
        assert again.headers["idempotent-replayed"] == "true"
    reversed_one = next(one for one in upgrade.exchanges if one.key == REVERSED)
    refused = await upgrade.send(reversed_one, REVERSED)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/movement-reversed")


async def test_key_of_the_release_refuses_another_body(upgrade: Upgrade) -> None:
    for exchange in upgrade.exchanges:
        if exchange.key in (None, REVERSED):
            continue
        text = json.dumps(exchange.body).replace('"quantity": ', '"quantity": 1')
        other = Exchange(exchange.service, exchange.call, None, json.loads(text), 422, "")
        answer = await upgrade.send(other, exchange.key)
        assert answer.status_code == 422, (other, answer.text)
        assert answer.json()["type"] == "/problems/idempotency-key-reused"


async def test_data_of_the_release_is_read_as_before(upgrade: Upgrade) -> None:
    """Orders, stock and products: each member that the release answered has the same value."""
    read = [one for one in upgrade.exchanges if one.call.startswith("GET ")]
    assert len(read) >= 6
    for exchange in read:
        answer = await upgrade.send(exchange, None)
        assert answer.status_code == exchange.status, exchange
        assert contains(answer.json(), json.loads(exchange.response)), (exchange, answer.text)


async def test_unpublished_events_of_the_release_are_published_once(upgrade: Upgrade) -> None:
    waiting = Counter(event["event_id"] for event in upgrade.unpublished)
    assert {event["topic"] for event in upgrade.unpublished} == {"order-placed", "inventory-low"}
    found: Counter[str] = Counter()

    async def published() -> bool:
        messages = await read_messages(upgrade.fleet.kafka, EVENT_TOPICS)
        ids = Counter(json.loads(message["value"])["event_id"] for message in messages)
        found.clear()
        found.update({one: ids[one] for one in waiting})
        return all(found.values())

    await until(published, 60, "the outboxes are empty")
    assert found == waiting


async def test_messages_of_the_release_are_mailed_once(upgrade: Upgrade) -> None:
    """A mail that the release has recorded is not sent again, each of the others is sent."""
    events = {
        json.loads(message["value"])["event_id"]: message["topic"]
        for message in upgrade.messages
        if message["topic"] in EVENT_TOPICS
    }
    events |= {event["event_id"]: event["topic"] for event in upgrade.unpublished}
    mailed_before = {
        message["key"]
        for message in upgrade.messages
        if message["topic"] == SENT_MAILS and was_seen_as_mailed(message)
    }
    records: Counter[str] = Counter()

    async def all_recorded() -> bool:
        records.clear()
        for message in await read_messages(upgrade.fleet.kafka, [SENT_MAILS]):
            records[message["key"]] += 1
        return events.keys() <= records.keys()

    await until(all_recorded, 90, "each event has a record of its mail")
    assert {records[one] for one in events} == {1}
    subjects = await upgrade.shop.mails_of("alice@example.com")
    cancelled = [one for one in subjects if "was cancelled" in one]
    confirmed = [one for one in subjects if "is confirmed" in one]
    assert len(cancelled) == 1
    newly_placed = {one for one in events if events[one] == "order-placed"} - mailed_before
    assert len(confirmed) == len(newly_placed)
    for topic in EVENT_TOPICS:
        assert await upgrade.shop.dead_letters(topic) == []


async def test_order_left_pending_by_release_is_cancelled(upgrade: Upgrade) -> None:
    statement = "SELECT o.id::text, o.status, o.stock_debt FROM orders o WHERE o.id NOT IN"
    statement += " (SELECT order_id FROM idempotency_keys) AND o.cancelled_by = 'RECOVERY'"

    async def undone() -> bool:
        rows = await upgrade.rows("order_db", statement)
        return [(row["status"], row["stock_debt"]) for row in rows] == [("CANCELLED", False)]

    await until(undone, 40, "the order is cancelled, and inventory has answered the reversal")
    sums = "SELECT i.product_id, i.quantity, sum(m.delta)::bigint AS moved FROM inventory i"
    sums += " JOIN stock_movements m USING (product_id) GROUP BY i.id"
    for row in await upgrade.rows("inventory_db", sums):
        assert row["quantity"] == row["moved"], row["product_id"]


async def test_request_is_stored_as_the_release_stores_it(upgrade: Upgrade) -> None:
    """During a rolling upgrade a replica of the release compares what today's code has stored."""
    for exchange in upgrade.exchanges:
        if exchange.key in (None, REVERSED):
            continue
        fresh = f"fresh-{exchange.key}"
        answer = await upgrade.send(exchange, fresh)
        assert answer.status_code == exchange.status, answer.text
        table = "idempotency_keys" if exchange.service == "order-service" else "movement_keys"
        database = "order_db" if exchange.service == "order-service" else "inventory_db"
        rows = await upgrade.rows(
            database,
            f"SELECT request FROM {table} WHERE key IN ('{exchange.key}', '{fresh}')",  # noqa: S608
        )
        assert len(rows) == 2
        assert rows[0]["request"] == rows[1]["request"]


def validator(schema: Any) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=FormatChecker())


async def test_events_of_both_versions_fit_the_schemas_of_both(upgrade: Upgrade) -> None:
    """An old producer beside a new consumer, and a new producer beside an old consumer."""
    order = await upgrade.shop.place((await upgrade.shop.stock(5), 1), email="new@example.com")
    cancel = f"{upgrade.shop.orders}/{order.json()['id']}/cancel"
    assert (await upgrade.shop.http.patch(cancel)).status_code == 200
    new: list[Message] = []

    async def published() -> bool:
        new[:] = [
            message
            for message in await read_messages(upgrade.fleet.kafka, EVENT_TOPICS)
            if order.json()["id"] in message["value"]
        ]
        return {message["topic"] for message in new} >= set(EVENT_TOPICS) - {"inventory-low"}

    await until(published, 60, "the events of a new order and of its cancellation")
    messages = [one for one in upgrade.messages if one["topic"] in EVENT_TOPICS] + new
    for folder in (upgrade.version / "events", CONTRACTS / "events"):
        for message in messages:
            schema = load(folder / f"{message['topic']}.v1.schema.json")
            validator(schema).validate(json.loads(message["value"]))


def test_requests_of_released_clients_are_accepted(version: Path) -> None:
    """Every operation, parameter, body and response member of the released OpenAPI documents."""
    released = sorted((version / "openapi").glob("*.json"))
    assert len(released) >= 6
    for path in released:
        today = load(CONTRACTS / "openapi" / path.name)
        assert openapi.breaking_changes(load(path), today) == [], path.stem
