"""One transaction for each call that writes; none for a read, which is one SELECT."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis.failpoints import reach
from chassis.postgres.database import Connection, Database


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[Connection]:
    """The caller's transaction; it commits when the block ends, which is before the reply."""
    async with database.transaction() as connection:
        yield connection
        reach("write.committing")
    reach("write.committed")
