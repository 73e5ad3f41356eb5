"""What each service's migrations/env.py calls: Alembic under an advisory lock.

Without the lock, of three replicas that migrate at once two fail (they race to create the same
type or table). With it they take turns, and the later ones find nothing to do.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_LOCK = 7_246_001  # any constant: advisory locks are per database


def run_migrations(metadata: MetaData | None = None) -> None:
    """Upgrade the database that `DATABASE_URL` names (or Alembic's own `sqlalchemy.url`).

    Args:
        metadata: the service's tables, for `alembic check` and autogeneration; None where no
            SQLAlchemy model describes them, and each migration is written by hand.
    """
    url = context.config.get_main_option("sqlalchemy.url") or os.environ.get("DATABASE_URL")
    if not url:
        raise SystemExit("DATABASE_URL is not set: name the database to migrate.")
    asyncio.run(_migrate(url, metadata))


async def _migrate(url: str, metadata: MetaData | None) -> None:
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run, metadata)
    finally:
        await engine.dispose()


def _not_the_outbox(_object: object, name: str | None, type_: str, *_rest: object) -> bool:
    return not (type_ == "table" and name == "outbox")  # its DDL is chassis.outbox's


def _run(connection: Connection, metadata: MetaData | None) -> None:
    connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
    connection.commit()  # the lock belongs to the session and goes with its end
    context.configure(
        connection=connection, target_metadata=metadata, include_object=_not_the_outbox
    )
    with context.begin_transaction():
        context.run_migrations()
