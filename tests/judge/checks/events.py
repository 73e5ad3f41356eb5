"""Events: a committed order is on its topic, an order that never stood is not."""

from collections import Counter, defaultdict

from tests.judge.checks.trial import Finding, Trial
from tests.judge.evidence import EVENTS, Record

_OF_ORDERS = ("order-placed", "order-cancelled")


def committed_if_and_only_if_published(trial: Trial) -> Finding:
    """Promise 16: outbox and topic hold the same events, and each standing order has its own."""
    found, state = Finding(), trial.state
    published = {(record.topic, record.event_id) for record in state.records if record.event_id}
    written = {(row.topic, row.event_id) for row in state.outbox}
    for row in state.outbox:
        found.require(row.published, f"{row.topic} {row.event_id} is not published")
        found.require(
            (row.topic, row.event_id) in published, f"{row.topic} {row.event_id} is not there"
        )
    for topic, event_id in published:
        if topic in (*_OF_ORDERS, "inventory-low"):
            found.require((topic, event_id) in written, f"{topic} {event_id} was never committed")
    placed = Counter(row.key for row in state.outbox if row.topic == "order-placed")
    for order in state.orders:
        if order.stands:
            count = placed[order.id]
            found.require(count == 1, f"order {order.id} stands, with {count} order-placed events")
    return found


def in_order_for_each_aggregate(trial: Trial) -> Finding:
    """Promise 19: on each partition the first deliveries of a key's events are in their order."""
    found = Finding()
    written = {(row.topic, row.event_id): row.seq for row in trial.state.outbox}
    for records in _by_aggregate(trial).values():
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


def _by_aggregate(trial: Trial) -> dict[tuple[str, str], list[Record]]:
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in trial.state.records:
        if record.topic in EVENTS and record.event_id:
            found[(record.topic, record.key)].append(record)
    return found


def dead_letters_are_explained(trial: Trial) -> Finding:
    """Promises 25 and 64: an unreadable message is a dead letter. So is an event whose mail the
    mail server refused for its content, and no other event."""
    found = Finding(looked_at=1)  # that nothing else was put aside
    letters = [record for record in trial.state.records if record.topic.endswith(".dlq")]
    values = {record.value for record in letters}
    for value in trial.poison:
        found.require(value in values, f"{value!r} is no dead letter")
    for record in letters:
        refused = bool(record.event_id) and trial.may_be_undeliverable(record.key)
        found.require(
            record.value in trial.poison or refused,
            f"a good event is a dead letter: {record.value[:200]!r}",
        )
    return found
