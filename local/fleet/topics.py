"""The Kafka topics of the platform, in the one place that creates them locally."""

from __future__ import annotations

from collections.abc import Mapping

_EVENTS = ("order-placed", "order-cancelled", "inventory-low", "ai-notification-ready")

PARTITIONS = 3

TOPICS: Mapping[str, int] = {
    **dict.fromkeys(_EVENTS, PARTITIONS),
    **{f"{topic}.dlq": PARTITIONS for topic in _EVENTS},
    "mail-sent": PARTITIONS,
}
"""Topic name → partitions. ``mail-sent`` is notification-service's memory of what was mailed."""
