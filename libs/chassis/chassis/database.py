"""PostgreSQL by SQLAlchemy: one engine, transactions that end at the edge, honest errors."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

from prometheus_client import CollectorRegistry
from pydantic import Field
from pydantic_settings import BaseSettings
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import QueuePool

from chassis.metrics import pool_gauges
from chassis.problems import Problem, ServiceUnavailable
from chassis.tracing import Kind, span

# SQLSTATE classes and codes that say "not now" rather than "not like that": connection (08),
# resources (53), shutdown and start-up (57P0x), cancelled by a timeout (57014), lock not
# available (55P03), serialization and deadlock (40xxx).
_PASSING = ("08", "53", "57P", "57014", "55P03", "40")

_ABOUT = {"db.system.name": "postgresql"}


class DatabaseSettings(BaseSettings):
    """Mixed into the settings of a service that keeps its data in PostgreSQL."""

    database_url: str
    database_pool_size: int = Field(default=10, ge=1, description="connections of this process")
    database_pool_timeout: float = Field(default=5.0, gt=0, description="seconds to wait for one")
    database_connect_timeout: float = Field(default=2.0, gt=0, description="seconds")
    database_statement_timeout: float = Field(default=5.0, gt=0, description="seconds, COMMIT too")


class DatabaseUnavailable(ServiceUnavailable):
    """The database did not answer. A COMMIT that ended so may or may not have happened."""

    type = "/problems/database-unavailable"
    title = "Database unavailable"
    example = "The database cannot be reached; try again shortly."


def is_passing(error: BaseException) -> bool:
    """True for an error of the connection or the server's state, not of the statement."""
    if isinstance(error, OSError | PoolTimeout):  # TimeoutError is an OSError
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or code.startswith(_PASSING)


@contextmanager
def _honest_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, PoolTimeout, DBAPIError) as error:
        if is_passing(error):
            raise DatabaseUnavailable(DatabaseUnavailable.example) from error
        raise


class Database:
    """The engine and its sessions. Built in the lifespan, closed by `close()`.

    Args:
        registry: where the pool's use is shown.
    """

    def __init__(
        self, settings: DatabaseSettings, registry: CollectorRegistry | None = None
    ) -> None:
        self.engine: AsyncEngine = create_async_engine(
            settings.database_url,
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=settings.database_pool_timeout,
            connect_args={
                "timeout": settings.database_connect_timeout,
                "command_timeout": settings.database_statement_timeout,
                "server_settings": {"jit": "off"},
            },
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        if registry is not None:
            in_use, limit = pool_gauges(registry)
            pool = cast(QueuePool, self.engine.pool)
            in_use.set_function(pool.checkedout)
            limit.set(settings.database_pool_size)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends well, rolled back when it raises.

        Call no other service inside: a transaction held open across a call holds its locks too.

        Raises:
            DatabaseUnavailable: the connection or the server failed. If that was during COMMIT,
                the outcome is not known; everything else was rolled back.
        """
        # A span for each transaction, not for each statement: what takes time is the wait for a
        # connection, a lock or the COMMIT, and a statement may hold what nobody else is to see.
        with _honest_errors(), span("transaction", Kind.CLIENT, _ABOUT, refusals=Problem):
            async with self._sessions() as session, session.begin():
                yield session

    async def ping(self) -> None:
        """One round trip on a connection of the pool; raises when there is none."""
        async with self.transaction() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()
