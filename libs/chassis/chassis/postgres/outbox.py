"""The outbox: an event is a row in the caller's transaction, and becomes a message afterwards.

Writing is `add_event`, or `INSERT_EVENT` within a larger statement. Neither can commit: the event
is published if and only if the caller's own change is. Publishing is `OutboxRelay`, one at a time
for each database.
"""

from uuid import UUID

from chassis.kafka.events import Event
from chassis.observability.tracing import traceparent
from chassis.postgres.database import Connection

CHANNEL = "outbox"

OUTBOX_DDL_V1 = (
    """
    CREATE TABLE outbox (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id uuid NOT NULL UNIQUE,
        topic text NOT NULL,
        key text NOT NULL,
        payload text NOT NULL,
        traceparent text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        published_at timestamptz,
        parked_at timestamptz,
        parked_reason text
    )
    """,
    "CREATE INDEX outbox_pending ON outbox (seq) WHERE published_at IS NULL AND parked_at IS NULL",
    "CREATE INDEX outbox_parked ON outbox (key) WHERE parked_at IS NOT NULL",
    "CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL",
    f"""
    CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL; END $$
    """,
    """
    CREATE TRIGGER outbox_inserted AFTER INSERT ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify()
    """,
)
"""For a service's first migration. Never edited: a change comes as a V2 beside it."""

INSERT_EVENT = "INSERT INTO outbox (event_id, topic, key, payload, traceparent)"
"""Followed by VALUES, or in a larger statement by SELECT, of what `event_row` returns."""

EventRow = tuple[UUID, str, str, str, str | None]


def event_row(topic: str, key: str, event: Event) -> EventRow:
    """The values of one event's row, in the order of `INSERT_EVENT`.

    The payload is stored as the bytes that will be sent, so that every repeat is the same.
    """
    return event.event_id, topic, key, event.to_bytes().decode(), traceparent()


async def add_event(connection: Connection, *, topic: str, key: str, event: Event) -> None:
    """Write one event into the caller's transaction. It is published after that commits.

    Args:
        connection: the caller's; nothing here commits.
        key: the aggregate's id. Events of one key are published in the order of their commits, if
            the caller holds a lock on the aggregate's row when it calls this.
    """
    values = "VALUES ($1, $2, $3, $4, $5)"
    await connection.execute(f"{INSERT_EVENT} {values}", *event_row(topic, key, event))
