"""Checks of orders: none lost, unexplained, duplicated or stuck."""

from collections import Counter
from collections.abc import Sequence

from tests.judge.checks.run_data import Finding, RunData
from tests.judge.history import Attempt, Kind, Outcome
from tests.judge.nemesis import Done

_STATES = ("PENDING", "CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED")
_RECOVERY_BOUND = 30.0  # seconds, as docs/order-flow.md promises
_LEASES = 30.0  # twice an order's lease, because a recovery may crash as well
_SAMPLE_INTERVAL = 2.0  # maximum seconds between two samples
_CONCERNED = ("order-service", "inventory-service", "postgres", "product-service")


def every_201_is_present(run_data: RunData) -> Finding:
    """Promise 16: every acknowledged order exists with its quantity and customer name."""
    found, orders = Finding(), {order.id: order for order in run_data.state.orders}
    for attempt in _confirmed(run_data):
        order = orders.get(attempt.order_id)
        if order is None:
            found.require(False, f"order {attempt.order_id} returned 201 and does not exist")
            continue
        same = (order.intent, order.pieces) == (attempt.intent, attempt.pieces)
        found.require(same, f"{order} was requested as {attempt.intent}: {attempt.pieces}")
    return found


def no_unexplained_order(run_data: RunData) -> Finding:
    """Only attempts with 201 or an unknown outcome may have created an order."""
    found, attempts_by_intent = Finding(), run_data.history.attempts_by_intent()
    for order in run_data.state.orders:
        attempts = attempts_by_intent.get(order.intent, [])
        possible = any(attempt.outcome is not Outcome.REFUSED for attempt in attempts)
        answers = [attempt.status for attempt in attempts]
        found.require(
            possible or not order.stands,
            f"order {order.id} is {order.status}, but the responses were {answers}",
        )
    return found


def one_order_per_key(run_data: RunData) -> Finding:
    """Promise 10: one confirmed order per key, and one response for all requests with the key.

    An intended order without a key is sent once, so the check applies to it as well.
    """
    found = Finding()
    standing = Counter(order.intent for order in run_data.state.orders if order.stands)
    answers: dict[str, set[str]] = {}
    for attempt in _confirmed(run_data):
        answers.setdefault(attempt.intent, set()).add(attempt.body)
    for intent in run_data.history.attempts_by_intent():
        found.require(standing[intent] <= 1, f"{standing[intent]} confirmed orders for {intent}")
        responses = answers.get(intent, set())
        found.require(len(responses) <= 1, f"{intent} has different responses: {sorted(responses)}")
    return found


def legal_states(run_data: RunData) -> Finding:
    """Promise 9: acknowledged transitions took effect, and no conflicting ones."""
    found, states = Finding(), {order.id: order.status for order in run_data.state.orders}
    for status in states.values():
        found.require(status in _STATES, f"unknown order status {status}")
    for kind, allowed in (
        (Kind.CANCEL, ("CANCELLED",)),
        (Kind.SHIP, ("SHIPPED", "DELIVERED")),
        (Kind.DELIVER, ("DELIVERED",)),
    ):
        for attempt in run_data.history.by_kind(kind):
            if attempt.outcome is Outcome.OK:
                status = states.get(attempt.order_id, "missing")
                found.require(
                    status in allowed,
                    f"{kind} of {attempt.order_id} was acknowledged, but the order is {status}",
                )
    cancelled = {
        a.order_id
        for a in run_data.history.by_kind(Kind.CANCEL)
        if a.outcome is not Outcome.REFUSED
    }
    for attempt in _confirmed(run_data):
        if states.get(attempt.order_id) == "CANCELLED":
            found.require(
                attempt.order_id in cancelled,
                f"order {attempt.order_id} returned 201 and is CANCELLED without a request",
            )
    return found


def none_unfinished_too_long(run_data: RunData) -> Finding:
    """Unfinished orders are finished or cancelled within 30 s, not counting the time of faults."""
    found = Finding(looked_at=len(run_data.state.orders))
    for order_id, (first, last) in run_data.state.unfinished.items():
        broken = _broken_between(run_data.faults, first, last)
        allowed = _RECOVERY_BOUND + _SAMPLE_INTERVAL + broken
        if last - first > allowed:
            found.violations.append(
                f"order {order_id} was unfinished for {last - first:.0f} s;"
                f" with {broken:.0f} s of faults at most {allowed:.0f} are allowed"
            )
    if run_data.unsettled:
        found.violations.append(f"not settled: {run_data.unsettled}")
    return found


def no_internal_error(run_data: RunData) -> Finding:
    """Promise 53, under faults: 500 only with the problem `outcome-unknown`."""
    found = Finding()
    for attempt in run_data.history.attempts:
        honest = attempt.status != 500 or attempt.problem.endswith("/outcome-unknown")
        found.require(honest, f"{attempt.kind} was answered {attempt.status} {attempt.problem}")
    return found


def _confirmed(run_data: RunData) -> list[Attempt]:
    return [each for each in run_data.history.by_kind(Kind.PLACE) if each.outcome is Outcome.OK]


def _broken_between(faults: Sequence[Done], first: float, last: float) -> float:
    """Return the seconds of faults that affect orders, plus the leases of crashed processes."""
    total = 0.0
    for done in faults:
        part = done.planned.part.removesuffix("-2")
        if part not in _CONCERNED or done.ended < first or done.started > last:
            continue
        total += min(done.ended, last) - max(done.started, first)
        total += _LEASES if part == "order-service" else 0.0
    return total
