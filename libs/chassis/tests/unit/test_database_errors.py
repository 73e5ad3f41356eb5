"""Classification of PostgreSQL driver errors as database unavailable."""

import asyncpg
import pytest

from chassis.postgres.engine import DATABASE_ERRORS, is_unavailable

UNAVAILABLE = [
    # the connection
    OSError("connection reset"),
    TimeoutError(),
    ConnectionError("unexpected connection_lost() call"),
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.ConnectionFailureError("connection failure"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InterfaceError("cannot call Connection.fetch(): connection has been released back"),
    asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    asyncpg.InterfaceError("cannot perform operation: another operation is cancelling"),
    asyncpg.InterfaceError("pool is closing"),
    asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    asyncpg.ProtocolError("unexpected message"),
    asyncpg.ProtocolViolationError("invalid frontend message type"),
    # the server
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CrashShutdownError("terminating connection because of crash of another server process"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.IdleSessionTimeoutError("terminating connection due to idle-session timeout"),
    asyncpg.IdleInTransactionSessionTimeoutError("terminating connection"),
    asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    asyncpg.OutOfMemoryError("out of memory"),
    asyncpg.DiskFullError("could not extend file"),
    asyncpg.ReadOnlySQLTransactionError("cannot execute UPDATE in a read-only transaction"),
    asyncpg.PostgresIOError("could not read block 3"),
    asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    asyncpg.DeadlockDetectedError("deadlock detected"),
    asyncpg.SerializationError("could not serialize access"),
    # a migration, or a proxy in front of the server
    asyncpg.InvalidCachedStatementError("cached statement plan is invalid"),
    asyncpg.OutdatedSchemaCacheError("unexpected number of attributes of composite type"),
    asyncpg.InternalServerError("cache lookup failed for type 16402"),
    asyncpg.InvalidSQLStatementNameError('prepared statement "__asyncpg_stmt_1__" does not exist'),
    asyncpg.DuplicatePreparedStatementError('prepared statement "__asyncpg_stmt_1__" exists'),
]

DEFECTS = [
    asyncpg.DataError("invalid input for query argument $1: 'x' (expected int)"),
    asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"),
    asyncpg.UniqueViolationError("duplicate key value violates unique constraint"),
    asyncpg.CheckViolationError("violates check constraint"),
    asyncpg.PostgresSyntaxError("syntax error"),
    asyncpg.FeatureNotSupportedError("cannot do that"),
]


@pytest.mark.parametrize("error", UNAVAILABLE, ids=lambda error: type(error).__name__)
def test_error_of_connection_or_server_is_unavailable(error: Exception) -> None:
    assert isinstance(error, DATABASE_ERRORS)
    assert is_unavailable(error)


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
def test_error_of_the_statement_is_not_unavailable(error: Exception) -> None:
    assert isinstance(error, DATABASE_ERRORS)
    assert not is_unavailable(error)
