"""The Kafka topics of the platform: the one table from which they are created, here and in Docker.

Standard library only: docker-compose.yml mounts this file into the container that creates them.
"""

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

RETENTION_DAYS: Mapping[str, int] = {topic: 30 if topic.endswith(".dlq") else 7 for topic in TOPICS}
"""How long a real broker keeps what is on a topic. ``mail-sent`` must not be shorter than an event
can come again; a dead letter waits for a person. The embedded broker keeps all until it stops."""
