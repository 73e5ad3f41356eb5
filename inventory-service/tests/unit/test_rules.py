"""The rules that need no database."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncSession

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


class Recorder(AsyncSession):
    """Stands where a session would; keeps what was written."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    async def execute(self, statement: Any, *_: Any, **__: Any) -> Any:
        self.written.append(statement.compile().params)


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
    session, metrics = Recorder(), StockMetrics(CollectorRegistry())
    watch = LowStockWatch(session, threshold, metrics)
    item = InventoryItem(product_id="p", product_name="P", quantity=after + 5, reserved_qty=5)
    await watch.note(item, before)
    assert [row["key"] for row in session.written] == ["p"] * told
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
