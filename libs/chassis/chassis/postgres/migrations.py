"""What each service's migrations/env.py calls: Alembic under an advisory lock.

Without the lock, of three replicas that migrate at once two fail (they race to create the same
type or table). With it they take turns, and the later ones find nothing to do.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_LOCK = 7_246_001  # any constant: advisory locks are per database


def run_migrations() -> None:
    """Upgrade the database that `DATABASE_URL` names (or Alembic's own `sqlalchemy.url`).

    Migrations are written by hand: no service has its tables as SQLAlchemy's.
    """
    url = context.config.get_main_option("sqlalchemy.url") or os.environ.get("DATABASE_URL")
    if not url:
        raise SystemExit("DATABASE_URL is not set: name the database to migrate.")
    asyncio.run(_migrate(url))


async def _migrate(url: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


def _run(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
    connection.commit()  # the lock belongs to the session and goes with its end
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
