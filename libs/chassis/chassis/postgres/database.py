"""PostgreSQL by asyncpg: one pool, transactions that end at the edge, honest errors.

Without an ORM: building and looking up statements cost several times the statements themselves
(docs/adr/0007). SQLAlchemy is there for the migrations, which are processes of their own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import asyncpg
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from pydantic import Field
from pydantic_settings import BaseSettings

from chassis.observability.metrics import pool_gauges
from chassis.observability.tracing import span
from chassis.problems import Problem, ServiceUnavailable

log = logging.getLogger(__name__)

# SQLSTATE classes and codes of the connection's or the server's state, not of the statement:
# connection (08), resources (53), shutdown and start-up (57P0x), cancelled by a timeout (57014),
# lock not available (55P03), serialization and deadlock (40xxx), session and transaction timeouts
# (25P03, 25P04), a server that became read-only (25006), I/O and internal errors (58, XX: also
# "cache lookup failed" during a migration), prepared statements lost behind a proxy (26000, 42P05).
_PASSING = (
    "08", "53", "57P", "57014", "55P03", "40", "25P03", "25P04", "25006", "58", "XX", "26000",
    "42P05",
)  # fmt: skip

# asyncpg on a connection that broke or is about to: "connection is closed", "... has been
# released back to the pool", "another operation is in progress".
_BROKEN = ("clos", "released", "operation is")

DRIVER_ERRORS = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a statement that meets a dying connection
)

# After these a connection is not used again.
_SILENCE = (
    OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncio.CancelledError,
)  # fmt: skip

_ABOUT = {"db.system.name": "postgresql"}

Connection: TypeAlias = Any
"""asyncpg's, which has no types: `fetch`, `fetchrow`, `fetchval`, `execute`."""


class DatabaseSettings(BaseSettings):
    """Mixed into the settings of a service that keeps its data in PostgreSQL."""

    database_url: str
    database_pool_size: int = Field(default=10, ge=1, description="connections of this process")
    database_pool_timeout: float = Field(default=5.0, gt=0, description="seconds to wait for one")
    database_connect_timeout: float = Field(default=2.0, gt=0, description="seconds")
    database_statement_timeout: float = Field(default=5.0, gt=0, description="seconds, COMMIT too")


class DatabaseUnavailable(ServiceUnavailable):
    """The database did not answer. What would have committed then may or may not have happened."""

    type = "/problems/database-unavailable"
    title = "Database unavailable"
    example = "The database cannot be reached; try again shortly."


def is_passing(error: BaseException) -> bool:
    """True for an error of the connection or the server's state, not of the statement."""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True  # a migration changed a type; asyncpg has dropped its cached statements
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_PASSING)
    if isinstance(error, asyncpg.InterfaceError):
        # Anything else wrong with the use of the driver is a defect of this code.
        return any(word in str(error) for word in _BROKEN)
    return isinstance(error, OSError | asyncpg.InternalClientError)


def driver_url(url: str) -> str:
    """A database's URL as asyncpg reads it: settings may name SQLAlchemy's driver in it too."""
    return f"postgresql://{url.partition('://')[2]}"


class Database:
    """The pool. Built anywhere, opened and closed in the lifespan.

    Args:
        registry: where the pool's use is shown.
    """

    def __init__(
        self, settings: DatabaseSettings, registry: CollectorRegistry | None = None
    ) -> None:
        self._settings = settings
        self._pool: Any = None
        if registry is not None:
            in_use, limit = pool_gauges(registry)
            in_use.set_function(self._in_use)
            limit.set(settings.database_pool_size)

    async def open(self) -> None:
        """Make the pool. It connects when it is asked: the server need not be there yet."""
        settings = self._settings
        self._pool = await asyncpg.create_pool(
            driver_url(settings.database_url),
            min_size=0,
            max_size=settings.database_pool_size,
            timeout=settings.database_connect_timeout,
            command_timeout=settings.database_statement_timeout,
            max_cached_statement_lifetime=0,  # for as long as the connection lives
            server_settings={"jit": "off"},
            connect=_connect,
            reset=_nothing,  # transactions leave nothing behind; a reset is a round trip
        )

    async def close(self) -> None:
        """Abrupt where somebody still has a connection: who closes has drained before."""
        if self._pool is not None:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection on which each statement is a transaction of its own.

        Raises:
            DatabaseUnavailable: the connection or the server failed. Whether the statement under
                way has happened is not known.
        """
        # A span for each use, not for each statement: what takes time is the wait for a connection,
        # a lock or the COMMIT, and a statement may hold what nobody else is to see.
        try:
            with span("transaction", SpanKind.CLIENT, _ABOUT, expected=Problem):
                connection = await self._acquire()
                try:
                    yield connection
                except _SILENCE:
                    # Who has not answered would not answer a ROLLBACK either.
                    with suppress(asyncpg.InterfaceError):  # it broke, and the pool has it back
                        connection.terminate()
                    raise
                finally:
                    patience = self._settings.database_pool_timeout
                    await self._pool.release(connection, timeout=patience)
        except DRIVER_ERRORS as error:
            if is_passing(error):
                log.warning("database error", extra={"error": type(error).__name__})
                raise DatabaseUnavailable(DatabaseUnavailable.example) from error
            raise

    async def _acquire(self) -> Connection:
        if self._pool is None:
            raise DatabaseUnavailable("The database's connections are not open.")
        # With one idle nobody waits; a limit of the wait is a task of its own in asyncpg.
        idle = self._pool.get_idle_size()
        return await self._pool.acquire(
            timeout=None if idle else self._settings.database_pool_timeout
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed when the block ends well, rolled back when it raises.

        Call no other service inside: a transaction held open across a call holds its locks too.

        Raises:
            DatabaseUnavailable: the connection or the server failed. If that was during COMMIT,
                the outcome is not known; everything else was rolled back.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except _SILENCE:
                raise  # the connection is closed, and with it the transaction
            except BaseException:
                await transaction.rollback()
                raise
            await transaction.commit()

    async def ping(self) -> None:
        """One round trip on a connection of the pool; raises when there is none."""
        async with self.connection() as connection:
            await connection.execute("SELECT 1")

    def _in_use(self) -> float:
        return float(self._pool.get_size() - self._pool.get_idle_size()) if self._pool else 0.0


async def _nothing(_: Connection) -> None: ...


async def _connect(*args: Any, **options: Any) -> Connection:
    """Connect in a task of its own, which goes on when the caller is cancelled.

    When a connection attempt is cancelled while it asks the server for TLS, asyncpg 0.32 leaves a
    future with an exception behind that asyncio reports as never retrieved.
    """
    connecting = asyncio.create_task(asyncpg.connect(*args, **options), name="database-connect")
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(_discard)
        raise


def _discard(connecting: asyncio.Task[Connection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()
