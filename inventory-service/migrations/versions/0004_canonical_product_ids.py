"""Product ids in their canonical form; items of one product under two spellings become one.

Revision ID: 0004
Revises: 0003
"""

import json
from collections import Counter

import sqlalchemy as sa
from alembic import op

from chassis.field_types import canonical_id

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_IDS = "SELECT product_id FROM inventory UNION SELECT product_id FROM stock_movements"
_REQUESTS = """
    SELECT k.key, k.request::text FROM movement_keys k
    JOIN stock_movements m USING (key)
    WHERE m.product_id = :old AND k.request IS NOT NULL
"""
_SET_REQUEST = "UPDATE movement_keys SET request = cast(:request AS jsonb) WHERE key = :key"
_MERGE = (
    """
    INSERT INTO stock_movements AS held (key, product_id, kind, delta, at)
    SELECT key, :new, kind, delta, at FROM stock_movements WHERE product_id = :old
    ON CONFLICT (key, product_id, kind) DO UPDATE SET delta = held.delta + excluded.delta
    """,
    "DELETE FROM stock_movements WHERE product_id = :old",
    """
    UPDATE inventory i
    SET quantity = i.quantity + o.quantity, reserved_qty = i.reserved_qty + o.reserved_qty,
        updated_at = clock_timestamp()
    FROM inventory o WHERE i.product_id = :new AND o.product_id = :old
    """,
    """
    DELETE FROM inventory WHERE product_id = :old
    AND EXISTS (SELECT 1 FROM inventory WHERE product_id = :new)
    """,
    "UPDATE inventory SET product_id = :new WHERE product_id = :old",
)


def upgrade() -> None:
    connection = op.get_bind()
    for old in connection.execute(sa.text(_IDS)).scalars().all():
        try:
            new = canonical_id(old)
        except ValueError:
            continue  # nothing visible, or too long in its canonical form: no call can name it
        if new != old:
            _rename(connection, old, new)


def _rename(connection: sa.Connection, old: str, new: str) -> None:
    """Rename a product in its item, its ledger and the requests that its keys stand for."""
    for key, request in connection.execute(sa.text(_REQUESTS), {"old": old}).all():
        asked = json.loads(request)
        pieces: Counter[str] = Counter()
        for product, quantity in asked["items"]:
            pieces[new if product == old else product] += quantity
        asked["items"] = sorted([list(pair) for pair in pieces.items()])
        values = {"key": key, "request": json.dumps(asked)}
        connection.execute(sa.text(_SET_REQUEST), values)
    for statement in _MERGE:
        connection.execute(sa.text(statement), {"old": old, "new": new})


def downgrade() -> None:
    """Keep the canonical ids: the code before this migration serves them as well."""
