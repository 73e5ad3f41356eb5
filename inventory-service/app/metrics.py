"""This service's own counters. Labels come from closed sets: never a product, never a key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from chassis.problems import Problem


@dataclass(slots=True)
class Outcome:
    """How a call ended, while it is not known yet."""

    name: str


class StockMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.reductions = Counter(
            "stock_reductions",
            "Reductions asked for: taken, replayed, or by the problem that refused them",
            ["outcome"],
            registry=registry,
        )
        self.reversals = Counter(
            "stock_reversals",
            "Reversals asked for: returned, nothing, tombstone, replayed",
            ["outcome"],
            registry=registry,
        )
        self.lost_returns = Counter(
            "stock_reversal_items_skipped",
            "Items that a reversal could not give back, because their product was deleted",
            registry=registry,
        )
        self.low_crossings = Counter(
            "stock_low_crossings",
            "Times that an available quantity fell below the threshold",
            registry=registry,
        )

    @contextmanager
    def reduction(self) -> Iterator[Outcome]:
        """Count one reduction: as `taken` unless the block says or raises otherwise."""
        outcome = Outcome("taken")
        try:
            yield outcome
        except Problem as refusal:
            outcome.name = refusal.type.rpartition("/")[2]
            raise
        except BaseException:
            outcome.name = "failed"
            raise
        finally:
            self.reductions.labels(outcome.name).inc()
