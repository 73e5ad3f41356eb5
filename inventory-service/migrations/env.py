"""Alembic's entry point: the chassis migrates under an advisory lock."""

from app.models.inventory import Base
from chassis.migrations import run_migrations

run_migrations(Base.metadata)
