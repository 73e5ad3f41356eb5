"""Each change of an item gives it a later `updated_at`, whichever statement makes the change.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# An item's entity tag is made of its id and `updated_at` (app/models/inventory.py), so no two
# states of an item may have the same time: not after a step of the clock back, and not when a
# statement does not set it.
_FUNCTION = """
CREATE FUNCTION inventory_updated_at_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := greatest(NEW.updated_at, OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END $$
"""
_TRIGGER = """
CREATE TRIGGER inventory_updated_at_grows BEFORE UPDATE ON inventory
FOR EACH ROW EXECUTE FUNCTION inventory_updated_at_grows()
"""


def upgrade() -> None:
    op.execute(_FUNCTION)
    op.execute(_TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER inventory_updated_at_grows ON inventory")
    op.execute("DROP FUNCTION inventory_updated_at_grows()")
