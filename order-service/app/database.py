"""The request's connection, for routes that need no more than one."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from chassis.postgres.database import Connection, Database


async def _reading(request: Request) -> AsyncIterator[Connection]:
    database: Database = request.app.state.database
    async with database.connection() as connection:
        yield connection


async def _transaction(request: Request) -> AsyncIterator[Connection]:
    """Committed when the handler has returned."""
    database: Database = request.app.state.database
    async with database.transaction() as connection:
        yield connection


# scope="function": by default FastAPI ends a yield dependency after the answer has been sent, so
# that a client would hold a 200 for something that was never committed.
Reading = Annotated[Connection, Depends(_reading, scope="function")]
Transaction = Annotated[Connection, Depends(_transaction, scope="function")]
