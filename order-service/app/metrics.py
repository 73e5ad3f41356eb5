"""What order-service counts beside requests and calls."""

from prometheus_client import CollectorRegistry, Counter

OUTCOMES = (
    "confirmed",
    "replayed",
    "OutOfStock",
    "ProductUnknown",
    "InventoryUnavailable",
    "PlacingInterrupted",
    "Busy",
    "DatabaseUnavailable",
    "RequestInProgress",
    "IdempotencyKeyReused",
    "OrderCancelled",
    "OutcomeUnknown",
)


class OrderMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._placings = Counter(
            "order_placings",
            "Requests to place an order, by outcome",
            ["outcome"],
            registry=registry,
        )
        self._recovered = Counter(
            "order_recoveries", "What the recovery loop did", ["action"], registry=registry
        )
        for outcome in OUTCOMES:
            self._placings.labels(outcome)

    def count_placing(self, outcome: str) -> None:
        self._placings.labels(outcome if outcome in OUTCOMES else "other").inc()

    def count_recovery(self, action: str) -> None:
        """`cancelled` (an order left PENDING), `reversed` (a debt paid) or `failed`."""
        self._recovered.labels(action).inc()
