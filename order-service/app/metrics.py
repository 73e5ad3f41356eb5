"""What order-service counts beside requests and calls."""

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
    "remembered",
    "not_catalogued",
    "changed",
    "unavailable",
    "catalogue_down",
)
STOCK_CHECKS = ("asked", "remembered")


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
            "order_recoveries", "What the recovery loop did", ["action"], registry=registry
        )
        self._prices = Counter(
            "order_price_checks",
            "Items whose price was held against the catalogue's, by outcome",
            ["outcome"],
            registry=registry,
        )
        self._stock = Counter(
            "order_stock_checks",
            "Items whose stock was looked at before placing, by whether inventory was asked",
            ["outcome"],
            registry=registry,
        )
        for outcome in OUTCOMES:
            self._placings.labels(outcome)
        for outcome in PRICE_OUTCOMES:
            self._prices.labels(outcome)
        for outcome in STOCK_CHECKS:
            self._stock.labels(outcome)

    def count_placing(self, outcome: str) -> None:
        self._placings.labels(outcome if outcome in OUTCOMES else "other").inc()

    def count_price(self, outcome: str) -> None:
        """One item; an outcome of PRICE_OUTCOMES."""
        self._prices.labels(outcome).inc()

    def count_stock_check(self, outcome: str) -> None:
        """One item; an outcome of STOCK_CHECKS."""
        self._stock.labels(outcome).inc()

    def count_value(self, total: Decimal) -> None:
        """An order was confirmed. A float, as all metrics are: for graphs, not for the books."""
        self._value.inc(float(total))

    def count_recovery(self, action: str) -> None:
        """`cancelled` (an order left PENDING), `reversed` (a debt paid) or `failed`."""
        self._recovered.labels(action).inc()
