"""Mark the function `reduce_at_once` for removal.

The code of this release does not call it. Replicas of the last release do, and they run beside
this release during a rolling upgrade, so that only the next release may drop it:
`DROP FUNCTION reduce_at_once(text, jsonb, text[], bigint[], bigint)`.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COMMENT = "COMMENT ON FUNCTION reduce_at_once(text, jsonb, text[], bigint[], bigint) IS "


def upgrade() -> None:
    op.execute(f"{_COMMENT} 'unused since migration 0005; the next release drops it'")


def downgrade() -> None:
    op.execute(f"{_COMMENT} NULL")
