"""The transactional outbox: an event is a row of the caller's transaction, and is published later.

`add_event` writes a row, and `insert_events` is a part of a larger statement. Neither commits: an
event is published if and only if the caller's own change is committed. `OutboxRelay` publishes.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    FromClause,
    Identity,
    Index,
    Insert,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.kafka.events import Event
from chassis.observability.tracing import traceparent

CHANNEL = "outbox"

outbox = Table(
    "outbox",
    MetaData(),
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Uuid, nullable=False),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("traceparent", Text),
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    Column("published_at", DateTime(timezone=True)),
    Column("parked_at", DateTime(timezone=True)),
    Column("parked_reason", Text),
    UniqueConstraint("event_id", name="outbox_event_id_key"),
    Index(
        "outbox_pending",
        "seq",
        postgresql_where=text("published_at IS NULL AND parked_at IS NULL"),
    ),
    Index("outbox_parked", "key", postgresql_where=text("parked_at IS NOT NULL")),
    Index("outbox_published", "published_at", postgresql_where=text("published_at IS NOT NULL")),
)
"""The table that OUTBOX_DDL creates; a service adds it to its metadata with `to_metadata`."""

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
"""For the first migration of a service. Never edited: a change is a V2 beside it."""

EventRow = dict[str, Any]
"""The parameters of `insert_events` for one event."""

_COLUMNS = [outbox.c[name] for name in ("event_id", "topic", "key", "payload", "traceparent")]


def event_row(topic: str, key: str, event: Event) -> EventRow:
    """Return the parameters of one event's row.

    The payload is stored as the bytes that are sent, so that each redelivery is identical.
    """
    return {
        "outbox_event_id": event.event_id,
        "outbox_topic": topic,
        "outbox_key": key,
        "outbox_payload": event.to_bytes().decode(),
        "outbox_traceparent": traceparent(),
    }


def insert_events(source: FromClause | None = None) -> Insert:
    """Build the insert of an event, with the parameters of `event_row`.

    Args:
        source: a CTE of the same statement; the event is inserted if it has a row.
    """
    values = select(*(bindparam(f"outbox_{one.name}", type_=one.type) for one in _COLUMNS))
    if source is not None:
        values = values.select_from(source)
    return insert(outbox).from_select(_COLUMNS, values)


_ADD = insert_events()


async def add_event(connection: AsyncConnection, *, topic: str, key: str, event: Event) -> None:
    """Write one event in the caller's transaction. It is published after the commit.

    Args:
        key: the id of the aggregate. Events with one key are published in the order of their
            commits if the caller holds a lock on the aggregate's row.
    """
    await connection.execute(_ADD, event_row(topic, key, event))
