"""Checks of events: every committed event is on its topic, and no other."""

from collections import Counter, defaultdict

from tests.judge.checks.run_data import Finding, RunData
from tests.judge.evidence import EVENTS, Record

_OF_ORDERS = ("order-placed", "order-cancelled")


def committed_if_and_only_if_published(run_data: RunData) -> Finding:
    """Promise 16: outbox and topic contain the same events, and each confirmed order has one."""
    found, state = Finding(), run_data.state
    published = {(record.topic, record.event_id) for record in state.records if record.event_id}
    written = {(row.topic, row.event_id) for row in state.outbox}
    for row in state.outbox:
        found.require(row.published, f"{row.topic} {row.event_id} is not published")
        found.require(
            (row.topic, row.event_id) in published,
            f"{row.topic} {row.event_id} is not on the topic",
        )
    for topic, event_id in published:
        if topic in (*_OF_ORDERS, "inventory-low"):
            found.require((topic, event_id) in written, f"{topic} {event_id} was never committed")
    placed = Counter(row.key for row in state.outbox if row.topic == "order-placed")
    for order in state.orders:
        if order.stands:
            count = placed[order.id]
            found.require(count == 1, f"confirmed order {order.id} has {count} order-placed events")
    return found


def in_order_for_each_aggregate(run_data: RunData) -> Finding:
    """Promise 19: the first deliveries of a key's events are on one partition and in order."""
    found = Finding()
    written = {(row.topic, row.event_id): row.seq for row in run_data.state.outbox}
    for records in _by_aggregate(run_data).values():
        partitions = {record.partition for record in records}
        found.require(len(partitions) == 1, f"{records[0].key} is on partitions {partitions}")
        sequence: list[int] = []
        for record in sorted(records, key=lambda record: record.offset):
            seq = written.get((record.topic, record.event_id))
            if seq is not None and seq not in sequence:
                sequence.append(seq)
        found.require(
            sequence == sorted(sequence), f"{records[0].topic} {records[0].key}: {sequence}"
        )
    return found


def _by_aggregate(run_data: RunData) -> dict[tuple[str, str], list[Record]]:
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in run_data.state.records:
        if record.topic in EVENTS and record.event_id:
            found[(record.topic, record.key)].append(record)
    return found


def dead_letters_are_explained(run_data: RunData) -> Finding:
    """Promises 25 and 64: invalid messages are dead-lettered, and of the valid events only those
    whose mail the server refused because of its content."""
    found = Finding(looked_at=1)  # no unexplained dead letter
    dead_letters = [record for record in run_data.state.records if record.topic.endswith(".dlq")]
    values = {record.value for record in dead_letters}
    for value in run_data.poison:
        found.require(value in values, f"{value!r} is not a dead letter")
    for record in dead_letters:
        refused = bool(record.event_id) and run_data.may_be_undeliverable(record.key)
        found.require(
            record.value in run_data.poison or refused,
            f"a valid event is a dead letter: {record.value[:200]!r}",
        )
    return found
