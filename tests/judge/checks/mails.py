"""Mails: one for each event. Some may be doubled, as SMTP cannot rule out; they are counted."""

from collections import Counter

from tests.judge.checks.trial import Finding, Trial
from tests.judge.evidence import MAILED_AS


def one_confirmation_each(trial: Trial) -> Finding:
    """Promises 23 and 24: every order that was ever confirmed has its mail, and one."""
    return _one_each(trial, "confirmation", "order-placed")


def one_cancellation_each(trial: Trial) -> Finding:
    """The same of orders that were cancelled after they had stood."""
    return _one_each(trial, "cancellation", "order-cancelled")


def one_follow_up_each(trial: Trial) -> Finding:
    """Promise 29: the personal mail too, whatever became of ai-service meanwhile."""
    return _one_each(trial, "follow-up", "order-placed")


def doubled(trial: Trial) -> int:
    """Mails of all kinds that came more than once."""
    counts = Counter(
        (mail.kind, mail.order_number) for mail in trial.state.mails if mail.order_number
    )
    return sum(count - 1 for count in counts.values())


def _one_each(trial: Trial, kind: str, topic: str) -> Finding:
    """A mail of this kind for each event of the topic; or a dead letter, if it was refused."""
    found = Finding()
    wanted = {row.key for row in trial.state.outbox if row.topic == topic}
    orders = {order.number: order for order in trial.state.orders if order.id in wanted}
    mails = [mail for mail in trial.state.mails if mail.kind == kind]
    counts = Counter(mail.order_number for mail in mails)
    refused = {
        record.key
        for record in trial.state.records
        if record.topic == f"{MAILED_AS[kind]}.dlq" and trial.may_be_undeliverable(record.key)
    }
    for number, order in orders.items():
        arrived = counts[number] >= 1 or order.id in refused
        found.require(arrived, f"order {number} has no {kind}")
    for mail in mails:
        order_or_none = orders.get(mail.order_number)
        recipient = order_or_none.email if order_or_none else "nobody"
        found.require(
            mail.recipient == recipient,
            f"the {kind} of {mail.order_number} is for {recipient} and went to {mail.recipient}",
        )
    extra = sum(count - 1 for count in counts.values())
    if doubled(trial) > trial.smtp_windows and extra:
        found.violations.append(
            f"{extra} {kind} mails came twice; all kinds together {doubled(trial)},"
            f" and the faults explain {trial.smtp_windows}"
        )
    return found
