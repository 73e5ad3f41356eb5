"""Run Alembic under an advisory lock, for the migrations/env.py of each service.

Without the lock, two of three replicas that migrate at the same time fail, because they race to
create the same type or table. With it they run one after the other, and the later ones find
nothing to do.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, MetaData, func, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_LOCK = 7_246_001  # any constant: advisory locks are per database


def run_migrations(metadata: MetaData | None = None) -> None:
    """Upgrade the database of Alembic's `sqlalchemy.url` or of `DATABASE_URL`.

    Args:
        metadata: the models, for `alembic revision --autogenerate` and `alembic check`.
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


def _run(connection: Connection, metadata: MetaData | None) -> None:
    connection.execute(select(func.pg_advisory_lock(_LOCK)))
    connection.commit()  # the lock belongs to the session and goes with its end
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()
