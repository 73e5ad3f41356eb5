"""The declarative base, and the request's session."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from chassis.database import Database


class Base(DeclarativeBase):
    """All tables of order_db but the outbox, whose DDL is the chassis's."""


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """One transaction for the request, committed when the handler has returned."""
    database: Database = request.app.state.database
    async with database.transaction() as session:
        yield session


# scope="function": by default FastAPI ends a yield dependency after the answer has been sent, so
# that a client would hold a 200 for something that was never committed.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]
