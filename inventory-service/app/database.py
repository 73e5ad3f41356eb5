"""Sessions: one transaction for each call that writes, committed at the edge; none for a read."""

from collections.abc import AsyncIterator

from fastapi import Request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from chassis.database import Database, DatabaseUnavailable, is_passing
from chassis.failpoints import reach


async def transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """The caller's transaction; it commits when the route has returned."""
    database: Database = request.app.state.database
    async with database.transaction() as session:
        yield session
        reach("write.committing")
    reach("write.committed")


def reading(database: Database) -> AsyncEngine:
    """The same pool for calls that are one SELECT: autocommit spares BEGIN and COMMIT, two round
    trips of three. Several statements there would each see the database at another moment."""
    return database.engine.execution_options(isolation_level="AUTOCOMMIT")


async def reader(request: Request) -> AsyncIterator[AsyncSession]:
    """For one SELECT, see `reading`."""
    try:
        async with AsyncSession(request.app.state.reading) as session:
            yield session
    except (OSError, PoolTimeout, DBAPIError) as error:
        if is_passing(error):
            raise DatabaseUnavailable(DatabaseUnavailable.example) from error
        raise
