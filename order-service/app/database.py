"""The connection of a request, for routes that need only one."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.postgres.database import Database


async def _reading(request: Request) -> AsyncIterator[AsyncConnection]:
    database: Database = request.app.state.database
    async with database.connection() as connection:
        yield connection


async def _transaction(request: Request) -> AsyncIterator[AsyncConnection]:
    """Commit when the handler has returned."""
    database: Database = request.app.state.database
    async with database.transaction() as connection:
        yield connection


# scope="function": by default FastAPI ends a yield dependency after the response has been sent. A
# client could then receive a 200 for a change that was never committed.
Reading = Annotated[AsyncConnection, Depends(_reading, scope="function")]
Transaction = Annotated[AsyncConnection, Depends(_transaction, scope="function")]
