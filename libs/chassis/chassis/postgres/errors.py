"""Errors of the database layer. `chassis.app` renders them as problem documents."""


class DatabaseUnavailable(Exception):
    """The connection or the server failed. The outcome of an unfinished COMMIT is unknown."""
