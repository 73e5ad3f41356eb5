"""Metrics of calls to other services. Label values come from closed sets."""

from typing import ClassVar
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class UpstreamMetrics:
    """Call durations, retries and circuit state, labelled by the peer's name (`target`)."""

    _instances: ClassVar["WeakKeyDictionary[CollectorRegistry, UpstreamMetrics]"] = (
        WeakKeyDictionary()
    )

    def __init__(self, registry: CollectorRegistry) -> None:
        self.call_seconds = Histogram(
            "upstream_call_seconds",
            "Duration of a call to a peer in seconds, retries included",
            ["target", "outcome"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.retries = Counter(
            "upstream_retries", "Repeated requests to a peer", ["target"], registry=registry
        )
        self.circuit_state = Gauge(
            "circuit_state", "0 closed, 1 half-open, 2 open", ["target"], registry=registry
        )
        self.circuit_refused = Counter(
            "circuit_refused", "Calls refused by an open circuit", ["target"], registry=registry
        )

    @classmethod
    def of(cls, registry: CollectorRegistry) -> "UpstreamMetrics":
        """Return the metrics of a registry; the clients of several peers share them."""
        if registry not in cls._instances:
            cls._instances[registry] = cls(registry)
        return cls._instances[registry]
