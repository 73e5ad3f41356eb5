"""Orders, their items, idempotency keys, and the outbox.

Revision ID: 0001
Revises:
Create Date: 2026-11-23 05:16:22.559453
"""

import sqlalchemy as sa
from alembic import op

from chassis.postgres.outbox import OUTBOX_DDL_V1

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_number", sa.Text(), nullable=False),
        sa.Column("customer_name", sa.Text(), nullable=False),
        sa.Column("customer_email", sa.Text(), nullable=False),
        sa.Column("total_amount", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stock_debt", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(status = 'CANCELLED') = (cancelled_by IS NOT NULL)", name="cancelled_by_someone"
        ),
        sa.CheckConstraint(
            "NOT stock_debt OR status = 'CANCELLED'", name="debt_only_when_cancelled"
        ),
        sa.CheckConstraint(
            "cancelled_by IN ('CALLER', 'PLACING', 'RECOVERY')", name="cancelled_by_known"
        ),
        sa.CheckConstraint(
            "status IN ('PENDING', 'CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED')",
            name="status_known",
        ),
        sa.CheckConstraint(
            "lease_until IS NOT NULL OR (status <> 'PENDING' AND NOT stock_debt)",
            name="unfinished_has_a_lease",
        ),
        sa.CheckConstraint("total_amount >= 0", name="total_not_negative"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("order_number"),
    )
    op.create_index(
        "orders_by_email",
        "orders",
        [
            sa.literal_column("lower(customer_email)"),
            sa.literal_column("created_at DESC"),
            sa.literal_column("id DESC"),
        ],
        unique=False,
    )
    op.create_index(
        "orders_by_status",
        "orders",
        ["status", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "orders_newest",
        "orders",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "orders_to_recover",
        "orders",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("(status = 'PENDING' OR stock_debt)"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], ondelete="CASCADE", initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("principal", "key"),
    )
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["created_at"], unique=False)
    op.create_index("idempotency_keys_by_order", "idempotency_keys", ["order_id"], unique=True)
    op.create_table(
        "order_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("product_name", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("total_price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.CheckConstraint("quantity > 0", name="quantity_positive"),
        sa.CheckConstraint("total_price = quantity * unit_price", name="total_is_product"),
        sa.CheckConstraint("unit_price >= 0", name="price_not_negative"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("order_items_of_order", "order_items", ["order_id", "position"], unique=False)
    for statement in OUTBOX_DDL_V1:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE outbox")
    op.execute("DROP FUNCTION outbox_notify")
    op.drop_table("order_items")
    op.drop_table("idempotency_keys")
    op.drop_table("orders")
