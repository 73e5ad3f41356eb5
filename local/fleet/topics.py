"""The Kafka topics of the platform: the one table from which they are created, here and in Docker.

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
"""Topic name → partitions. ``mail-sent`` is notification-service's memory of what was mailed,
``mail-retry-N`` hold deferred mails and have as many partitions as the events,
``dead-letters-done`` that of ``make dlq``: which dead letters were replayed or dropped."""

RETENTION_DAYS: Mapping[str, int] = {
    **{topic: 30 if topic.endswith(".dlq") else 7 for topic in TOPICS},
    DEAD_LETTERS_DONE: 90,
}
"""How long a real broker keeps what is on a topic. ``mail-sent`` must not be shorter than an event
can come again; a dead letter waits for a person, and what was done with it is kept for longer than
the letter itself. The embedded broker keeps all until it stops."""
