"""Pieces: none appears, none vanishes, none is sold twice."""

from collections import Counter

from tests.judge.checks.trial import Finding, Trial
from tests.judge.evidence import Shelf
from tests.judge.history import Kind, Outcome


def conserved_at_every_read(trial: Trial) -> Finding:
    """Promise 2: at each moment that the watch looked, a quantity was the sum of its ledger."""
    found = Finding()
    for shelves in (*trial.state.reads, trial.state.shelves):
        for shelf in shelves:
            found.require(_is_right(shelf), f"{shelf}")
    if not trial.state.reads:
        found.violations.append("the watch never saw inventory's database")
    return found


def _is_right(shelf: Shelf) -> bool:
    return shelf.quantity == shelf.ledger and 0 <= shelf.reserved <= shelf.quantity


def conserved_over_all(trial: Trial) -> Finding:
    """Promise 2, across services: what was there, and came, less what was sold, is what is left."""
    found, sold, came = Finding(), _sold(trial), _restocked(trial)
    left = {shelf.product: shelf.quantity for shelf in trial.state.shelves}
    for product, initial in trial.initial.items():
        expected = initial + came[product] - sold[product]
        found.require(
            left.get(product) == expected,
            f"{product}: {initial} + {came[product]} - {sold[product]} sold is {expected},"
            f" but {left.get(product)} are left",
        )
    return found


def none_oversold(trial: Trial) -> Finding:
    """Promise 1: never more sold than there ever was."""
    found, sold, came = Finding(), _sold(trial), _restocked(trial)
    for product, initial in trial.initial.items():
        there = initial + came[product]
        found.require(
            sold[product] <= there, f"{product}: {sold[product]} sold of {there} that there were"
        )
    return found


def each_order_has_its_stock(trial: Trial) -> Finding:
    """Promises 4 and 6: a standing order has taken its pieces, any other has taken nothing."""
    found = Finding()
    taken: dict[str, Counter[str]] = {}
    for movement in trial.state.movements:
        if movement.kind in ("reduce", "reverse"):
            taken.setdefault(movement.key, Counter())[movement.product] -= movement.delta
    known = {order.id for order in trial.state.orders}
    for order in trial.state.orders:
        net = {product: n for product, n in taken.get(order.id, Counter()).items() if n}
        expected = order.pieces if order.stands else {}
        found.require(
            net == expected,
            f"order {order.id} is {order.status} with {order.pieces}, and has taken {net}",
        )
    for key, pieces in taken.items():
        if key not in known and any(pieces.values()):
            found.violations.append(f"{dict(pieces)} were taken under {key}, which is no order")
    return found


def each_restock_once(trial: Trial) -> Finding:
    """Promise 5: a restock that was acknowledged is in the ledger, once, whatever was repeated."""
    found = Finding()
    lines = Counter(m.key for m in trial.state.movements if m.kind == "restock")
    attempts = trial.history.of(Kind.RESTOCK)
    for key in {each.key for each in attempts if each.outcome is Outcome.OK}:
        found.require(lines[key] == 1, f"{key} was acknowledged and is {lines[key]} times there")
    asked = {each.key for each in attempts}
    for key, count in lines.items():
        found.require(key in asked and count == 1, f"{key} is {count} times there")
    return found


def _sold(trial: Trial) -> Counter[str]:
    sold: Counter[str] = Counter()
    for order in trial.state.orders:
        if order.stands:
            sold.update(order.pieces)
    return sold


def _restocked(trial: Trial) -> Counter[str]:
    came: Counter[str] = Counter()
    for movement in trial.state.movements:
        if movement.kind == "restock":
            came[movement.product] += movement.delta
    return came
