"""Create SQLAlchemy engines on asyncpg, and classify the errors that they raise.

asyncpg reports a lost connection in many ways, and a silent server would also leave a ROLLBACK
unanswered. The engine therefore terminates a connection that failed to answer, and replaces a
connection that the server closed while it was idle.
"""

import asyncio
from typing import Any

import asyncpg
from sqlalchemy import event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

# SQLSTATE classes and codes that describe the connection or the server, not the statement:
# connection (08), resources (53), shutdown and start-up (57P0x), cancelled by a timeout (57014),
# lock not available (55P03), serialization and deadlock (40xxx), session and transaction timeouts
# (25P03, 25P04), read-only server (25006), I/O and internal errors (58, XX: also "cache lookup
# failed" during a migration), prepared statements lost behind a proxy (26000, 42P05).
_UNAVAILABLE = (
    "08", "53", "57P", "57014", "55P03", "40", "25P03", "25P04", "25006", "58", "XX", "26000",
    "42P05",
)  # fmt: skip

# asyncpg's messages for a broken connection: "connection is closed", "... has been released back
# to the pool", "another operation is in progress".
_BROKEN = ("clos", "released", "operation is")

DATABASE_ERRORS = (
    OSError,  # includes TimeoutError
    exc.SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a statement that meets a closing connection
)

# After these errors the state of the connection is unknown.
_UNANSWERED = (
    OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncio.CancelledError,
)  # fmt: skip


def driver_error(error: BaseException) -> BaseException:
    """Return asyncpg's exception behind one of SQLAlchemy's, or `error` itself."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        error = error.orig
    # Not `driver_exception`: SQLAlchemy 2.1 does not set it on InvalidCachedStatementError.
    return error.__cause__ or error if isinstance(error, exc.EmulatedDBAPIException) else error


def is_unavailable(error: BaseException) -> bool:
    """Return True for an error of the connection or the server, not of the statement."""
    error = driver_error(error)
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True  # a migration changed a type; the cached statement is dropped
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_UNAVAILABLE)
    if isinstance(error, asyncpg.InterfaceError):
        # Any other wrong use of the driver is a defect of this code.
        return any(word in str(error) for word in _BROKEN)
    return isinstance(error, OSError | asyncpg.InternalClientError | exc.TimeoutError)


def driver_url(url: str) -> str:
    """Return a database URL without SQLAlchemy's driver name, as asyncpg reads it."""
    return f"postgresql://{url.partition('://')[2]}"


def create_engine(
    url: str,
    *,
    connect_timeout: float,
    statement_timeout: float,
    server_settings: dict[str, str],
    **options: Any,
) -> AsyncEngine:
    """Create an engine. It connects at first use.

    Args:
        connect_timeout, statement_timeout: seconds; the second one applies to COMMIT too.
        server_settings: PostgreSQL parameters of each session.
        options: arguments of `create_async_engine`.
    """

    async def connect() -> Any:
        return await _connect(
            driver_url(url),
            timeout=connect_timeout,
            command_timeout=statement_timeout,
            server_settings=server_settings,
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        hide_parameters=True,  # parameters hold personal data, and errors are logged
        **options,
    )
    event.listen(engine.sync_engine, "handle_error", _terminate_unanswered)
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


async def _connect(*args: Any, **options: Any) -> Any:
    """Connect in a separate task, which continues if the caller is cancelled.

    When a connection attempt is cancelled while it asks the server for TLS, asyncpg 0.32 leaves a
    future with an exception behind that asyncio reports as never retrieved.
    """
    connecting = asyncio.create_task(asyncpg.connect(*args, **options), name="database-connect")
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(_discard)
        raise


def _discard(connecting: asyncio.Task[Any]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()


def _terminate_unanswered(context: ExceptionContext) -> None:
    """Terminate a connection that did not answer: it would not answer a ROLLBACK either."""
    connection = context.connection
    if connection is None or connection.closed or connection.invalidated:
        return
    if isinstance(driver_error(context.original_exception), _UNANSWERED):
        driver: Any = connection.connection.driver_connection
        driver.terminate()
        context.is_disconnect = True
    context.invalidate_pool_on_disconnect = False  # `_refuse_closed` finds the others


def _refuse_closed(_: Any, entry: ConnectionPoolEntry, __: Any) -> None:
    """Make the pool replace a connection that was closed while it was idle."""
    driver: Any = entry.driver_connection
    if driver.is_closed():
        raise exc.DisconnectionError("closed by the server")
