"""Checks of stock: quantities are conserved, and no product is oversold."""

from collections import Counter

from tests.judge.checks.run_data import Finding, RunData
from tests.judge.evidence import StockItem
from tests.judge.history import Kind, Outcome


def conserved_at_every_read(run_data: RunData) -> Finding:
    """Promise 2: in every sample each quantity was the sum of its ledger."""
    found = Finding()
    for shelves in (*run_data.state.reads, run_data.state.shelves):
        for shelf in shelves:
            found.require(_is_right(shelf), f"{shelf}")
    if not run_data.state.reads:
        found.violations.append("inventory_db was never sampled")
    return found


def _is_right(shelf: StockItem) -> bool:
    return shelf.quantity == shelf.ledger and 0 <= shelf.reserved <= shelf.quantity


def conserved_over_all(run_data: RunData) -> Finding:
    """Promise 2, across services: initial stock plus restocks minus sales equals current stock."""
    found, sold, restocked = Finding(), _sold(run_data), _restocked(run_data)
    remaining_stock = {shelf.product: shelf.quantity for shelf in run_data.state.shelves}
    for product, initial in run_data.initial.items():
        expected = initial + restocked[product] - sold[product]
        found.require(
            remaining_stock.get(product) == expected,
            f"{product}: {initial} + {restocked[product]} - {sold[product]} sold is {expected},"
            f" but the stock is {remaining_stock.get(product)}",
        )
    return found


def none_oversold(run_data: RunData) -> Finding:
    """Promise 1: no more pieces are sold than existed."""
    found, sold, restocked = Finding(), _sold(run_data), _restocked(run_data)
    for product, initial in run_data.initial.items():
        available = initial + restocked[product]
        found.require(sold[product] <= available, f"{product}: {sold[product]} sold of {available}")
    return found


def each_order_has_its_stock(run_data: RunData) -> Finding:
    """Promises 4 and 6: confirmed orders have taken their pieces, all others have taken none."""
    found = Finding()
    taken: dict[str, Counter[str]] = {}
    for movement in run_data.state.movements:
        if movement.kind in ("reduce", "reverse"):
            taken.setdefault(movement.key, Counter())[movement.product] -= movement.delta
    known = {order.id for order in run_data.state.orders}
    for order in run_data.state.orders:
        net = {product: n for product, n in taken.get(order.id, Counter()).items() if n}
        expected = order.pieces if order.stands else {}
        found.require(
            net == expected,
            f"order {order.id} is {order.status} with {order.pieces}, and has taken {net}",
        )
    for key, pieces in taken.items():
        if key not in known and any(pieces.values()):
            found.violations.append(f"{dict(pieces)} were taken under {key}, which is not an order")
    return found


def each_restock_once(run_data: RunData) -> Finding:
    """Promise 5: an acknowledged restock is in the ledger exactly once, despite retries."""
    found = Finding()
    lines = Counter(m.key for m in run_data.state.movements if m.kind == "restock")
    attempts = run_data.history.by_kind(Kind.RESTOCK)
    for key in {each.key for each in attempts if each.outcome is Outcome.OK}:
        found.require(
            lines[key] == 1, f"{key} was acknowledged and is {lines[key]} times in the ledger"
        )
    requested = {each.key for each in attempts}
    for key, count in lines.items():
        found.require(key in requested and count == 1, f"{key} is {count} times in the ledger")
    return found


def _sold(run_data: RunData) -> Counter[str]:
    sold: Counter[str] = Counter()
    for order in run_data.state.orders:
        if order.stands:
            sold.update(order.pieces)
    return sold


def _restocked(run_data: RunData) -> Counter[str]:
    restocked: Counter[str] = Counter()
    for movement in run_data.state.movements:
        if movement.kind == "restock":
            restocked[movement.product] += movement.delta
    return restocked
