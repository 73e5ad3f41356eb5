import app.models.order
from app.database import Base
from chassis.migrations import run_migrations

assert app.models.order.Order.__table__ is not None  # noqa: S101  its tables are in the metadata
run_migrations(Base.metadata)
