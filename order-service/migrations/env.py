from app.models.order import Base
from chassis.postgres.migrations import run_migrations

run_migrations(Base.metadata)
