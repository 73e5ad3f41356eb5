"""Read the state: rows of both databases, records of every topic, mails of the mailbox."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx2
from aiokafka import AIOKafkaConsumer, TopicPartition

from fleet.topics import TOPICS
from tests.judge.target import Addresses

EVENTS = ("order-placed", "order-cancelled", "inventory-low", "ai-notification-ready")
MAILED_AS = {
    "confirmation": "order-placed",
    "cancellation": "order-cancelled",
    "follow-up": "ai-notification-ready",
}
"""The topic of the events for each kind of mail."""
_NUMBER = re.compile(r"ORD-[0-9A-Z-]+")
_PAGE = 5_000  # mails
_QUIET = 3.0  # seconds without new mails after which the state is settled

_STOCK = """
    SELECT i.product_id, i.quantity, i.reserved_qty,
           (SELECT coalesce(sum(m.delta), 0) FROM stock_movements m
            WHERE m.product_id = i.product_id)::bigint AS ledger
    FROM inventory i ORDER BY i.product_id
"""
_UNFINISHED = "SELECT id::text FROM orders WHERE status = 'PENDING' OR stock_debt"
_OUTBOX = """
    SELECT seq, event_id::text, topic, key, payload, published_at IS NOT NULL AS published
    FROM outbox ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class StockItem:
    """A stock item and the sum of its ledger, read in one snapshot."""

    product: str
    quantity: int
    reserved: int
    ledger: int


@dataclass(frozen=True, slots=True)
class Order:
    id: str
    number: str
    intent: str
    email: str
    total: str
    status: str
    stock_debt: bool
    pieces: dict[str, int]

    @property
    def stands(self) -> bool:
        return self.status in ("CONFIRMED", "SHIPPED", "DELIVERED")


@dataclass(frozen=True, slots=True)
class Movement:
    """A row of the stock ledger."""

    key: str
    product: str
    kind: str
    delta: int


@dataclass(frozen=True, slots=True)
class OutboxRow:
    seq: int
    event_id: str
    topic: str
    key: str
    published: bool
    payload: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A message on a topic; `event_id` is empty if the message is not an event."""

    topic: str
    partition: int
    offset: int
    key: str
    event_id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    recipient: str
    subject: str

    @property
    def order_number(self) -> str:
        found = _NUMBER.search(self.subject)
        return found.group(0) if found else ""

    @property
    def kind(self) -> str:
        if self.subject.startswith("Low stock:"):
            return "low"
        if self.subject.endswith(" is confirmed"):
            return "confirmation"
        return "cancellation" if self.subject.endswith(" was cancelled") else "follow-up"


@dataclass(slots=True)
class State:
    """The whole state, read after the load ended and all faults were repaired."""

    shelves: list[StockItem] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    reads: list[list[StockItem]] = field(default_factory=list)
    """Stock samples taken during the load, each in one snapshot."""
    unfinished: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Order id → first and last sample time at which it was PENDING or had `stock_debt`."""

    def exclude_before(self, before: "State") -> None:
        """Remove everything that existed before the run, so that the fleet need not be new."""
        orders = {order.id for order in before.orders}
        self.orders = [order for order in self.orders if order.id not in orders]
        self.movements = _new(self.movements, before.movements)
        self.shelves = [s for s in self.shelves if s.product not in _products(before)]
        events = {row.event_id for row in before.outbox}
        self.outbox = [row for row in self.outbox if row.event_id not in events]
        places = {(each.topic, each.partition, each.offset) for each in before.records}
        self.records = [
            each
            for each in self.records
            if (each.topic, each.partition, each.offset) not in places
            and each.event_id not in events  # an event from before the run may have been repeated
        ]
        self.mails = list((Counter(self.mails) - Counter(before.mails)).elements())


def _new(after: list[Movement], before: list[Movement]) -> list[Movement]:
    known = set(before)
    return [movement for movement in after if movement not in known]


def _products(state: State) -> set[str]:
    return {shelf.product for shelf in state.shelves}


class Watch:
    """Sample both databases twice a second during the load, on separate connections."""

    def __init__(self, addresses: Addresses, now: Callable[[], float]) -> None:
        self._addresses, self._now = addresses, now
        self.reads: list[list[StockItem]] = []
        self.unfinished: dict[str, tuple[float, float]] = {}

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.5)

    async def look(self) -> None:
        """Take one sample of both databases; an unavailable database is skipped."""
        await asyncio.gather(self._sample_stock(), self._sample_orders(), return_exceptions=True)

    async def _sample_stock(self) -> None:
        rows = await _rows(self._addresses.inventory_database, _STOCK)
        self.reads.append([StockItem(*row) for row in rows])

    async def _sample_orders(self) -> None:
        now = self._now()
        for (order_id,) in await _rows(self._addresses.orders_database, _UNFINISHED):
            first, _ = self.unfinished.get(order_id, (now, now))
            self.unfinished[order_id] = (first, now)


async def settled(addresses: Addresses, seconds: float) -> str:
    """Wait until no work remains and no mail arrives for `_QUIET` seconds.

    Returns:
        A description of the remaining work on timeout, else an empty string.
    """
    remaining = await done(addresses, seconds)
    if not remaining:
        await asyncio.sleep(_QUIET)
    return remaining


async def done(addresses: Addresses, seconds: float) -> str:
    """Wait until no order is unfinished, both outboxes are published and every event has its mail.

    Returns:
        A description of the remaining work on timeout, else an empty string.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    remaining = "no state was read"
    while asyncio.get_running_loop().time() < deadline:
        try:
            remaining = await _remaining_work(addresses)
        except (OSError, asyncpg.PostgresError, httpx2.TransportError) as error:
            remaining = f"{type(error).__name__}: {error}"
        if not remaining:
            return ""
        await asyncio.sleep(0.5)  # polling interval
    return remaining


async def _remaining_work(addresses: Addresses) -> str:
    unfinished = await _rows(addresses.orders_database, _UNFINISHED)
    if unfinished:
        return f"{len(unfinished)} orders are PENDING or have stock_debt"
    waiting = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
    for name in (addresses.orders_database, addresses.inventory_database):
        (rows,) = await _rows(name, waiting)
        if rows[0]:
            return f"{rows[0]} events are not published"
    counted = "SELECT count(*) FROM outbox WHERE topic = $1"
    expected = 0
    for topic, mails in (("order-placed", 2), ("order-cancelled", 1)):
        (rows,) = await _rows(addresses.orders_database, counted, topic)
        expected += mails * rows[0]  # an order has its follow-up too
    (rows,) = await _rows(addresses.inventory_database, counted, "inventory-low")
    expected += rows[0]
    refused: set[tuple[str, str]] = set()
    total = await _mail_count(addresses.mailbox)
    if total < expected:
        refused = await _refused_mails(addresses)
    missing = expected - total - len(refused)
    if missing <= 0:
        missing = expected - len(await _distinct_mails(addresses) | refused)
    return f"{missing} of {expected} mails are missing" if missing > 0 else ""


async def read_state(addresses: Addresses) -> State:
    """Read the state except the samples. All parts of the fleet must be running."""
    orders = await _rows(
        addresses.orders_database,
        "SELECT id::text, order_number, customer_name, customer_email, total_amount::text,"
        " status, stock_debt FROM orders",
    )
    items: dict[str, dict[str, int]] = {}
    for order_id, product, quantity in await _rows(
        addresses.orders_database, "SELECT order_id::text, product_id, quantity FROM order_items"
    ):
        mine = items.setdefault(order_id, {})
        mine[product] = mine.get(product, 0) + quantity
    movements = await _rows(
        addresses.inventory_database, "SELECT key, product_id, kind, delta FROM stock_movements"
    )
    shelves = await _rows(addresses.inventory_database, _STOCK)
    return State(
        shelves=[StockItem(*row) for row in shelves],
        movements=[Movement(*row) for row in movements],
        orders=[_order(row, items.get(row[0], {})) for row in orders],
        outbox=[
            *await _outbox(addresses.orders_database),
            *await _outbox(addresses.inventory_database),
        ],
        records=await read_topics(addresses.kafka),
        mails=await _mails(addresses.mailbox),
    )


def _order(row: Any, pieces: dict[str, int]) -> Order:
    order_id, number, intent, email, total, status, stock_debt = row
    return Order(order_id, number, intent, email, total, status, stock_debt, pieces)


async def _outbox(database: str) -> list[OutboxRow]:
    return [
        OutboxRow(seq, event_id, topic, key, published, payload)
        for seq, event_id, topic, key, payload, published in await _rows(database, _OUTBOX)
    ]


async def _rows(database: str, query: str, *arguments: Any) -> list[Any]:
    async with asyncio.timeout(15):
        connection = await asyncpg.connect(database, timeout=5)
        try:
            return [tuple(row) for row in await connection.fetch(query, *arguments)]
        finally:
            connection.terminate()


async def read_topics(bootstrap: str, topics: Iterable[str] = TOPICS) -> list[Record]:
    """Return all records of these topics, up to the high watermark."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(name, n) for name in topics for n in range(TOPICS[name])]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        return await _read_to_the_end(consumer, partitions)
    finally:
        await consumer.stop()


async def _read_to_the_end(consumer: Any, partitions: list[Any]) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(120):
        while True:
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                records += [_record(message) for message in messages]
            # Use the high watermark of a fetch: the embedded broker's latest offset is wrong.
            ends = [consumer.highwater(each) for each in partitions]
            positions = [await consumer.position(each) for each in partitions]
            if all(
                end is not None and position >= end
                for end, position in zip(ends, positions, strict=True)
            ):
                return records


def _record(message: Any) -> Record:
    try:
        value = json.loads(message.value)
        event_id = str(value.get("event_id", "")) if isinstance(value, dict) else ""
    except (TypeError, ValueError):
        event_id = ""
    key = (message.key or b"").decode("utf-8", "replace")
    return Record(
        message.topic, message.partition, message.offset, key, event_id, message.value or b""
    )


async def _mail_count(mailbox: str) -> int:
    async with httpx2.AsyncClient(base_url=mailbox, timeout=30) as http:
        answer = await http.get("/api/v1/messages", params={"limit": 1})
        return int(answer.json()["total"])


async def _distinct_mails(addresses: Addresses) -> set[tuple[str, str]]:
    """Return the distinct mails by kind and order, so that a duplicate hides no missing mail."""
    mails = await _mails(addresses.mailbox)
    low = [(mail.kind, str(number)) for number, mail in enumerate(mails) if mail.kind == "low"]
    return {(mail.kind, mail.order_number) for mail in mails if mail.kind != "low"} | set(low)


async def _refused_mails(addresses: Addresses) -> set[tuple[str, str]]:
    """Return the mails that were dead-lettered instead of sent, by kind and order."""
    kinds = {f"{topic}.dlq": kind for kind, topic in MAILED_AS.items()}
    dead_letters = [each for each in await read_topics(addresses.kafka, kinds) if each.event_id]
    return {(kinds[each.topic], json.loads(each.value)["order_number"]) for each in dead_letters}


async def _mails(mailbox: str) -> list[Mail]:
    found = await mailed(mailbox)
    return [Mail(each["To"][0]["Address"], each["Subject"]) for each in found]


async def mailed(mailbox: str) -> list[dict[str, Any]]:
    """Return all mails of the mailbox, page by page."""
    found: list[dict[str, Any]] = []
    async with httpx2.AsyncClient(base_url=mailbox, timeout=60) as http:
        while True:
            answer = await http.get(
                "/api/v1/messages", params={"start": len(found), "limit": _PAGE}
            )
            page = answer.json()["messages"]
            found += page
            if len(page) < _PAGE:
                return found
