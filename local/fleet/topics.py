"""The Kafka topics of the platform, with partitions and retention, for the launcher and Docker.

Standard library only: docker-compose.yml mounts this file into the container that creates them.
"""

from __future__ import annotations

from collections.abc import Mapping

_EVENTS = ("order-placed", "order-cancelled", "inventory-low", "ai-notification-ready")

PARTITIONS = 3

_MAIL_RETRIES = ("mail-retry-1", "mail-retry-2", "mail-retry-3", "mail-retry-4")

DEAD_LETTERS_DONE = "dead-letters-done"

TOPICS: Mapping[str, int] = {
    **dict.fromkeys(_EVENTS, PARTITIONS),
    **{f"{topic}.dlq": PARTITIONS for topic in _EVENTS},
    "mail-sent": PARTITIONS,
    **dict.fromkeys(_MAIL_RETRIES, PARTITIONS),
    DEAD_LETTERS_DONE: 1,
}
"""Topic name → partitions. ``mail-sent`` is the delivery log of notification-service.
``mail-retry-N`` hold deferred mails and have as many partitions as the events.
``dead-letters-done`` records which dead letters ``make dlq`` has replayed or dropped."""

RETENTION_DAYS: Mapping[str, int] = {
    **{topic: 30 if topic.endswith(".dlq") else 7 for topic in TOPICS},
    DEAD_LETTERS_DONE: 90,
}
"""Retention on a real broker. ``mail-sent`` must live at least as long as an event can be
redelivered, and ``dead-letters-done`` longer than the dead letters. The embedded broker keeps all
records until it stops."""
