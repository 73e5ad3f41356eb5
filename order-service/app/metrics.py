"""Metrics of orders."""

from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter

OUTCOMES = (
    "confirmed",
    "replayed",
    "OutOfStock",
    "ProductUnknown",
    "PriceChanged",
    "ProductUnavailable",
    "CatalogueUnavailable",
    "InventoryUnavailable",
    "PlacingInterrupted",
    "Busy",
    "DatabaseUnavailable",
    "RequestInProgress",
    "IdempotencyKeyReused",
    "OrderCancelled",
    "OutcomeUnknown",
)
PRICE_OUTCOMES = (
    "current",
    "cached",
    "not_catalogued",
    "changed",
    "unavailable",
    "catalogue_down",
)


class OrderMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._placings = Counter(
            "order_placings",
            "Requests to place an order, by outcome",
            ["outcome"],
            registry=registry,
        )
        self._value = Counter(
            "order_value", "Sum of the confirmed orders' totals", registry=registry
        )
        self._recovered = Counter(
            "order_recoveries", "Actions of the recovery loop", ["action"], registry=registry
        )
        self._prices = Counter(
            "order_price_checks",
            "Items whose price was compared with the catalogue's, by outcome",
            ["outcome"],
            registry=registry,
        )
        for outcome in OUTCOMES:
            self._placings.labels(outcome)
        for outcome in PRICE_OUTCOMES:
            self._prices.labels(outcome)

    def count_placing(self, outcome: str) -> None:
        self._placings.labels(outcome if outcome in OUTCOMES else "other").inc()

    def count_price(self, outcome: str) -> None:
        """Count one item, by an outcome of PRICE_OUTCOMES."""
        self._prices.labels(outcome).inc()

    def count_value(self, total: Decimal) -> None:
        """Add the total of a confirmed order. Metrics are floats: for graphs, not for accounts."""
        self._value.inc(float(total))

    def count_recovery(self, action: str) -> None:
        """Count `cancelled` (a PENDING order), `reversed` (a stock debt) or `failed`."""
        self._recovered.labels(action).inc()
