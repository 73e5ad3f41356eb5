"""A reduction in one round trip: the function `reduce_at_once`.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What app/services/stock_service.py does in a transaction of six round trips, in the same order:
# the key first, so that calls with one key are serial; then the rows, in the order of their ids, so
# that crossing reductions never deadlock; then the change, its ledger lines and the answer. Each
# statement of a function sees what was committed before it began, so after a wait for the key or
# for a row it judges what is there now. A product that does not fit in an old snapshot and would in
# a newer one is left to the service, as everything is that returns NULL.
#
# The answer is what app.schemas.inventory.Item says; test_at_once.py holds the two together.
_FUNCTION = """
CREATE FUNCTION reduce_at_once(
    this_key text, asked jsonb, products text[], pieces bigint[], low bigint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    fit bigint;
    told text;
BEGIN
    INSERT INTO movement_keys (key, request, state) VALUES (this_key, asked, 'taken')
    ON CONFLICT (key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    SELECT count(*) INTO fit FROM (
        SELECT i.quantity - i.reserved_qty AS available, w.n
        FROM inventory i JOIN unnest(products, pieces) AS w (product_id, n) USING (product_id)
        ORDER BY i.product_id
        FOR UPDATE OF i
    ) AS locked
    WHERE available >= n AND (available < low OR available - n >= low);
    IF fit < cardinality(products) THEN
        DELETE FROM movement_keys WHERE key = this_key;
        RETURN NULL;
    END IF;

    WITH moved AS (
        UPDATE inventory i
        SET quantity = i.quantity - w.n, updated_at = clock_timestamp()
        FROM unnest(products, pieces) AS w (product_id, n)
        WHERE i.product_id = w.product_id
        RETURNING i.*, w.n
    ), written AS (
        INSERT INTO stock_movements (key, product_id, kind, delta)
        SELECT this_key, product_id, 'reduce', -n FROM moved
    ), items AS (
        SELECT id, product_id, product_name, quantity, reserved_qty,
            quantity - reserved_qty AS available_qty,
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
            to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at
        FROM moved
    )
    SELECT '[' || string_agg(row_to_json(items)::text, ',' ORDER BY product_id) || ']'
    INTO told FROM items;
    UPDATE movement_keys SET answer = told WHERE key = this_key;
    RETURN told;
END $$
"""


def upgrade() -> None:
    op.execute(_FUNCTION)


def downgrade() -> None:
    op.execute("DROP FUNCTION reduce_at_once(text, jsonb, text[], bigint[], bigint)")
