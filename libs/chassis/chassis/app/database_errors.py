"""The problem document of an unavailable database."""

from collections.abc import Mapping

from chassis.postgres import errors
from chassis.problems import Problem, ServiceUnavailable


class DatabaseUnavailable(ServiceUnavailable):
    type = "/problems/database-unavailable"
    title = "Database unavailable"
    example = "The database cannot be reached; try again shortly."


DATABASE_PROBLEMS: Mapping[type[Exception], type[Problem]] = {
    errors.DatabaseUnavailable: DatabaseUnavailable
}
"""Errors of `chassis.postgres`, and the problem that each of them becomes."""
