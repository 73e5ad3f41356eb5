"""Inventory, the stock ledger and its keys, the outbox.

Revision ID: 0001
Revises:
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.postgres.outbox import OUTBOX_DDL_V1

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NOW = sa.func.clock_timestamp()


def _moment(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=_NOW)


def upgrade() -> None:
    op.create_table(
        "inventory",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("product_id", sa.String(100, collation="C"), unique=True, nullable=False),
        sa.Column("product_name", sa.String(200), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("reserved_qty", sa.BigInteger(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.CheckConstraint("quantity >= 0", name="inventory_quantity_not_negative"),
        sa.CheckConstraint(
            "reserved_qty >= 0 AND reserved_qty <= quantity", name="inventory_reserved_within"
        ),
        sa.CheckConstraint("product_id <> ''", name="inventory_product_id_not_empty"),
    )
    op.create_table(
        "movement_keys",
        sa.Column("key", sa.String(255, collation="C"), primary_key=True),
        sa.Column("request", JSONB(none_as_null=True), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        _moment("created_at"),
        sa.CheckConstraint("state IN ('taken', 'given', 'reversed')", name="movement_keys_state"),
    )
    op.create_table(
        "stock_movements",
        sa.Column("key", sa.String(255, collation="C"), primary_key=True),
        sa.Column("product_id", sa.String(100, collation="C"), primary_key=True),
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        _moment("at"),
        sa.CheckConstraint(
            "kind IN ('create', 'reduce', 'reverse', 'restock', 'adjust', 'delete')",
            name="stock_movements_kind",
        ),
        sa.CheckConstraint("delta <> 0", name="stock_movements_delta_not_zero"),
    )
    op.create_index("stock_movements_by_product", "stock_movements", ["product_id", "at"])
    for statement in OUTBOX_DDL_V1:
        op.execute(statement)


def downgrade() -> None:
    for table in ("outbox", "stock_movements", "movement_keys", "inventory"):
        op.drop_table(table)
    op.execute("DROP FUNCTION outbox_notify()")
