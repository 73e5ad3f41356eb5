"""Checks of mails: one per event. Duplicates are counted, because SMTP cannot exclude them."""

from collections import Counter

from tests.judge.checks.run_data import Finding, RunData
from tests.judge.evidence import MAILED_AS


def one_confirmation_each(run_data: RunData) -> Finding:
    """Promises 23 and 24: every order that was confirmed has exactly one confirmation mail."""
    return _one_each(run_data, "confirmation", "order-placed")


def one_cancellation_each(run_data: RunData) -> Finding:
    """Every order that was cancelled after its confirmation has exactly one cancellation mail."""
    return _one_each(run_data, "cancellation", "order-cancelled")


def one_follow_up_each(run_data: RunData) -> Finding:
    """Promise 29: every order has one follow-up mail, despite faults of ai-service."""
    return _one_each(run_data, "follow-up", "order-placed")


def doubled(run_data: RunData) -> int:
    """Return the number of duplicate mails of all kinds."""
    counts = Counter(
        (mail.kind, mail.order_number) for mail in run_data.state.mails if mail.order_number
    )
    return sum(count - 1 for count in counts.values())


def _one_each(run_data: RunData, kind: str, topic: str) -> Finding:
    """Each event of the topic has one mail of this kind, or a dead letter if it was refused."""
    found = Finding()
    expected = {row.key for row in run_data.state.outbox if row.topic == topic}
    orders = {order.number: order for order in run_data.state.orders if order.id in expected}
    mails = [mail for mail in run_data.state.mails if mail.kind == kind]
    counts = Counter(mail.order_number for mail in mails)
    refused = {
        record.key
        for record in run_data.state.records
        if record.topic == f"{MAILED_AS[kind]}.dlq" and run_data.may_be_undeliverable(record.key)
    }
    for number, order in orders.items():
        arrived = counts[number] >= 1 or order.id in refused
        found.require(arrived, f"order {number} has no {kind}")
    for mail in mails:
        order_or_none = orders.get(mail.order_number)
        recipient = order_or_none.email if order_or_none else "nobody"
        found.require(
            mail.recipient == recipient,
            f"the {kind} of {mail.order_number} for {recipient} was sent to {mail.recipient}",
        )
    extra = sum(count - 1 for count in counts.values())
    if doubled(run_data) > run_data.smtp_windows and extra:
        found.violations.append(
            f"{extra} {kind} duplicate mails; in total {doubled(run_data)},"
            f" of at most {run_data.smtp_windows}"
        )
    return found
