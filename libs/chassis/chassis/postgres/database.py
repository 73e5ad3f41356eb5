"""The connection pool of a service, and the scope of its transactions."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from pydantic import Field
from pydantic_settings import BaseSettings
from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import QueuePool

from chassis.observability.metrics import pool_gauges
from chassis.observability.tracing import mark_failed, span
from chassis.postgres.engine import DATABASE_ERRORS, create_engine, driver_error, is_unavailable
from chassis.postgres.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

_ATTRIBUTES = {"db.system.name": "postgresql"}
_CLOSE_TIMEOUT = 2.0  # seconds
_PING = select(literal(1))


class DatabaseSettings(BaseSettings):
    """Settings of a service that stores its data in PostgreSQL."""

    database_url: str
    database_pool_size: int = Field(default=10, ge=1, description="connections of this process")
    database_pool_timeout: float = Field(default=5.0, gt=0, description="seconds to wait for one")
    database_connect_timeout: float = Field(default=2.0, gt=0, description="seconds")
    database_statement_timeout: float = Field(default=5.0, gt=0, description="seconds, COMMIT too")


class Database:
    """One pool of connections, shared by transactions and autocommit statements.

    Args:
        registry: receives the gauges of the pool.
    """

    def __init__(
        self, settings: DatabaseSettings, registry: CollectorRegistry | None = None
    ) -> None:
        self._engine = create_engine(
            settings.database_url,
            connect_timeout=settings.database_connect_timeout,
            statement_timeout=settings.database_statement_timeout,
            server_settings={"jit": "off"},
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=settings.database_pool_timeout,
        )
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        if registry is not None:
            in_use, limit = pool_gauges(registry)
            in_use.set_function(self._in_use)
            limit.set(settings.database_pool_size)

    async def close(self) -> None:
        """Close the idle connections; a server that does not answer is not waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._engine.dispose()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection on which each statement is a transaction of its own.

        Raises:
            DatabaseUnavailable: the connection or the server failed. The outcome of the
                unfinished statement is unknown.
        """
        with _database_errors():
            async with self._autocommit.connect() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction: committed at the end of the block, rolled back if it raises.

        Call no other service inside: an open transaction holds its locks during the call.

        Raises:
            DatabaseUnavailable: the connection or the server failed. During COMMIT, the outcome
                is unknown; in any other case the transaction was rolled back.
        """
        with _database_errors():
            async with self._engine.begin() as connection:
                yield connection

    async def ping(self) -> None:
        """Make one round trip on a connection of the pool.

        Raises:
            DatabaseUnavailable: there was no answer.
        """
        async with self.connection() as connection:
            await connection.execute(_PING)

    def _in_use(self) -> float:
        pool = self._engine.pool
        return float(pool.checkedout()) if isinstance(pool, QueuePool) else 0.0


@contextmanager
def _database_errors() -> Iterator[None]:
    """Record the use of a connection as one span, and raise DatabaseUnavailable.

    One span per use, not per statement: the time goes into waiting for a connection, a lock or the
    COMMIT, and a statement may hold personal data. Only errors of the database fail the span.
    """
    with span("transaction", SpanKind.CLIENT, _ATTRIBUTES, expected=Exception) as work:
        try:
            yield
        except DATABASE_ERRORS as error:
            name = type(driver_error(error)).__name__
            mark_failed(work, name)
            if is_unavailable(error):
                logger.warning("database error", extra={"error": name})
                raise DatabaseUnavailable(name) from error
            raise
