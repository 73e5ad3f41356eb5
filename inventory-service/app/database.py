"""The transaction of a call that writes. A read is one SELECT and needs none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.failpoints import reach
from chassis.postgres.database import Database


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that commits at the end of the block, before the response."""
    async with database.transaction() as connection:
        yield connection
        reach("write.committing")
    reach("write.committed")
