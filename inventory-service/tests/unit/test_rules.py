"""The rules that need no database."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from app.errors import InsufficientStock, UnknownProduct
from app.metrics import StockMetrics
from app.models.inventory import InventoryItem
from app.repositories.ledger_repository import new_key
from app.schemas.inventory import ReductionLine
from app.services.low_stock import LowStockWatch
from app.services.stock_service import summed


def lines(*pairs: tuple[str, int]) -> list[ReductionLine]:
    return [ReductionLine(product_id=product, quantity=n) for product, n in pairs]


def test_lines_are_summed_in_the_order_of_their_products() -> None:
    pieces = summed(lines(("b", 1), ("a", 2), ("b", 3), ("B", 1), ("é", 1)))
    assert list(pieces.items()) == [("B", 1), ("a", 2), ("b", 4), ("é", 1)]


def test_a_key_made_here_cannot_be_sent_by_a_caller() -> None:
    key = new_key("adjust")
    assert key.startswith("adjust ")  # an Idempotency-Key has no space
    assert key != new_key("adjust")


def test_what_is_short_is_named_with_what_there_is() -> None:
    problem = InsufficientStock([("a", 5, 3), ("b", 2, 0)])
    assert problem.detail == (
        "Insufficient stock for a: requested 5, available 3; b: requested 2, available 0."
    )
    assert UnknownProduct("a", "b").detail == "Inventory does not know products a, b."


class Recorder:
    """Stands where a connection would; keeps what was written."""

    def __init__(self) -> None:
        self.written: list[tuple[Any, ...]] = []

    async def execute(self, _statement: str, *values: Any) -> None:
        self.written.append(values)


CROSSINGS = [
    # before, after, threshold, told
    (10, 9, 10, True),
    (10, 10, 10, False),
    (11, 10, 10, False),
    (9, 8, 10, False),
    (1_000, 0, 10, True),
    (9, 10, 10, False),
    (9, 1_000, 10, False),
    (1, 0, 1, True),
    (1, 0, 0, False),
]


@pytest.mark.parametrize(("before", "after", "threshold", "told"), CROSSINGS)
async def test_low_is_strictly_below_and_only_a_fall_is_told(
    before: int, after: int, threshold: int, told: bool
) -> None:
    connection, metrics = Recorder(), StockMetrics(CollectorRegistry())
    watch = LowStockWatch(threshold, metrics)
    now = datetime.now(UTC)
    item = InventoryItem(uuid4(), "p", "P", after + 5, 5, created_at=now, updated_at=now)
    await watch.note(connection, item, before)
    assert [key for _id, _topic, key, *_ in connection.written] == ["p"] * told
    assert metrics.low_crossings._value.get() == told


def test_a_refused_reduction_is_counted_by_its_problem() -> None:
    registry = CollectorRegistry()
    metrics = StockMetrics(registry)
    with pytest.raises(UnknownProduct), metrics.reduction():
        raise UnknownProduct("a-product-that-must-not-be-a-label")
    with metrics.reduction() as outcome:
        outcome.name = "replayed"
    with pytest.raises(ZeroDivisionError), metrics.reduction():
        _ = 1 // 0
    for name in ("unknown-product", "replayed", "failed"):
        value = registry.get_sample_value("stock_reductions_total", {"outcome": name})
        assert value == 1
