"""Orders: none lost, none invented, none doubled, none stuck."""

from collections import Counter
from collections.abc import Sequence

from tests.judge.checks.trial import Finding, Trial
from tests.judge.history import Attempt, Kind, Outcome
from tests.judge.nemesis import Done

_STATES = ("PENDING", "CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED")
_HEALED = 30.0  # seconds, as docs/order-flow.md promises
_LEASES = 30.0  # twice an order's lease: a recovery may die as well
_LOOK = 2.0  # seconds between two looks of the watch, at the worst
_CONCERNED = ("order-service", "inventory-service", "postgres", "product-service")


def every_201_is_present(trial: Trial) -> Finding:
    """Promise 16: what was acknowledged is there, with its pieces and its name."""
    found, orders = Finding(), {order.id: order for order in trial.state.orders}
    for attempt in _confirmed(trial):
        order = orders.get(attempt.order_id)
        if order is None:
            found.require(False, f"order {attempt.order_id} got its 201 and is not there")
            continue
        same = (order.wish, order.pieces) == (attempt.wish, attempt.pieces)
        found.require(same, f"{order} was asked for as {attempt.wish}: {attempt.pieces}")
    return found


def none_from_nowhere(trial: Trial) -> Finding:
    """An answer other than 201 means that no order stands; only an unanswered attempt may have."""
    found, wishes = Finding(), trial.history.wishes()
    for order in trial.state.orders:
        attempts = wishes.get(order.wish, [])
        possible = any(attempt.outcome is not Outcome.REFUSED for attempt in attempts)
        answers = [attempt.status for attempt in attempts]
        found.require(
            possible or not order.stands,
            f"order {order.id} is {order.status}, though its customer heard {answers}",
        )
    return found


def one_for_each_wish(trial: Trial) -> Finding:
    """Promise 10: one standing order for each key, one answer for all that asked with it.

    Without a key a wish is sent once, so it holds there too.
    """
    found = Finding()
    standing = Counter(order.wish for order in trial.state.orders if order.stands)
    answers: dict[str, set[str]] = {}
    for attempt in _confirmed(trial):
        answers.setdefault(attempt.wish, set()).add(attempt.body)
    for wish in trial.history.wishes():
        found.require(standing[wish] <= 1, f"{standing[wish]} orders stand for {wish}")
        told = answers.get(wish, set())
        found.require(len(told) <= 1, f"{wish} heard different answers: {sorted(told)}")
    return found


def legal_states(trial: Trial) -> Finding:
    """Promise 9: what was acknowledged has happened, and nothing that excludes it."""
    found, states = Finding(), {order.id: order.status for order in trial.state.orders}
    for status in states.values():
        found.require(status in _STATES, f"there is an order that is {status}")
    for kind, allowed in (
        (Kind.CANCEL, ("CANCELLED",)),
        (Kind.SHIP, ("SHIPPED", "DELIVERED")),
        (Kind.DELIVER, ("DELIVERED",)),
    ):
        for attempt in trial.history.of(kind):
            if attempt.outcome is Outcome.OK:
                status = states.get(attempt.order_id, "not there")
                found.require(
                    status in allowed,
                    f"{kind} of {attempt.order_id} was acknowledged, and it is {status}",
                )
    cancelled = {
        a.order_id for a in trial.history.of(Kind.CANCEL) if a.outcome is not Outcome.REFUSED
    }
    for attempt in _confirmed(trial):
        if states.get(attempt.order_id) == "CANCELLED":
            found.require(
                attempt.order_id in cancelled,
                f"order {attempt.order_id} got its 201 and is CANCELLED, though nobody asked",
            )
    return found


def none_unfinished_too_long(trial: Trial) -> Finding:
    """What was left half done is undone within 30 s of the time in which nothing was broken."""
    found = Finding(looked_at=len(trial.state.orders))
    for order_id, (first, last) in trial.state.unfinished.items():
        broken = _broken_between(trial.faults, first, last)
        allowed = _HEALED + _LOOK + broken
        if last - first > allowed:
            found.violations.append(
                f"order {order_id} was unfinished for {last - first:.0f} s;"
                f" with {broken:.0f} s of faults at most {allowed:.0f} are allowed"
            )
    if trial.unsettled:
        found.violations.append(f"not settled: {trial.unsettled}")
    return found


def no_internal_error(trial: Trial) -> Finding:
    """Promise 53, under faults: a 500 only where the outcome could not be known."""
    found = Finding()
    for attempt in trial.history.attempts:
        honest = attempt.status != 500 or attempt.problem.endswith("/outcome-unknown")
        found.require(honest, f"{attempt.kind} was answered {attempt.status} {attempt.problem}")
    return found


def _confirmed(trial: Trial) -> list[Attempt]:
    return [each for each in trial.history.of(Kind.PLACE) if each.outcome is Outcome.OK]


def _broken_between(faults: Sequence[Done], first: float, last: float) -> float:
    """Seconds of faults that concern orders, and the leases of what died meanwhile."""
    total = 0.0
    for done in faults:
        part = done.planned.part.removesuffix("-2")
        if part not in _CONCERNED or done.ended < first or done.began > last:
            continue
        total += min(done.ended, last) - max(done.began, first)
        total += _LEASES if part == "order-service" else 0.0
    return total
