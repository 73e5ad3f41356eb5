"""Alembic's entry point: the chassis migrates under an advisory lock."""

from chassis.migrations import run_migrations

run_migrations()
