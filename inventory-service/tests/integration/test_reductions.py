"""A reduction is one transaction: its response equals the items, and a refusal stores nothing."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.schemas.inventory import Item
from tests.stock import Shop, new_id, path_of

STORED = """
    SELECT (SELECT array_agg(i ORDER BY i.product_id) FROM inventory i
            WHERE i.product_id = ANY ($1::text[]))::text AS items,
        (SELECT count(*) FROM movement_keys WHERE key = $2) AS keys,
        (SELECT count(*) FROM stock_movements WHERE product_id = ANY ($1::text[])) AS lines,
        (SELECT count(*) FROM outbox WHERE key = ANY ($1::text[])) AS events
"""


@pytest.fixture
def spans(shop: Shop) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()  # the app's, as `shop` has started it
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


@pytest.mark.parametrize("name", ["Wireless Headphones", "\"q\" \\ / 'a' é 键 🔑 \u2028", "{}[],:"])
async def test_response_equals_the_items_and_is_replayed_byte_for_byte(
    shop: Shop, name: str
) -> None:
    product, other, key = new_id("ключ"), await shop.stock(50), str(uuid4())
    body = {"product_id": product, "product_name": name, "quantity": 100}
    await shop.client.post("/api/inventory", json=body)
    await shop.put(other, reserved_qty=3)
    products = sorted((product, other))
    answer = await shop.reduce(dict.fromkeys(products, 2), key)
    items = [(await shop.client.get(path_of(product))).json() for product in products]
    assert answer.headers["content-type"] == "application/json"
    assert [Item.model_validate(item) for item in answer.json()] == [
        Item.model_validate(item) for item in items
    ]
    assert [list(item) for item in answer.json()] == [list(Item.model_fields)] * 2
    assert all(item["updated_at"].endswith("Z") for item in answer.json())
    assert (await shop.reduce(dict.fromkeys(products, 2), key)).content == answer.content


async def test_reduction_is_one_transaction(shop: Shop, spans: InMemorySpanExporter) -> None:
    a, b, trace_id = await shop.stock(100), await shop.stock(100), uuid4()
    shop.client.headers["traceparent"] = f"00-{trace_id.hex}-00f067aa0ba902b7-01"
    try:
        for pieces in ({a: 1}, {a: 1, b: 2}, {a: 95}):
            spans.clear()
            assert (await shop.reduce(pieces)).status_code == 200
            finished = spans.get_finished_spans()
            mine = [one for one in finished if one.context.trace_id == trace_id.int]
            assert len([one for one in mine if one.name == "transaction"]) == 1
    finally:
        del shop.client.headers["traceparent"]


async def test_refused_reduction_stores_nothing(shop: Shop) -> None:
    """Short, reserved or unknown: no item, ledger line, key or event changes."""
    a, b, empty = await shop.stock(100), await shop.stock(100), await shop.stock(0)
    await shop.put(b, reserved_qty=60)
    for pieces, status in (
        ({a: 101}, 400),
        ({b: 41}, 400),
        ({empty: 1}, 400),
        ({a: 1, empty: 1}, 400),
        ({a: 1, b: 41}, 400),
        ({a: 91, b: 41}, 400),
        ({new_id(): 1}, 404),
        ({a: 1, new_id(): 1}, 404),
        ({a: 91, new_id(): 1}, 404),
    ):
        key, products = str(uuid4()), [a, b, empty]
        before = await shop.sql(STORED, products, key)
        assert (await shop.reduce(pieces, key)).status_code == status, pieces
        assert await shop.sql(STORED, products, key) == before
        assert before[0]["keys"] == 0
    await shop.assert_ledger_is_right(a, b, empty)


@pytest.mark.parametrize("state", ["taken", "given", "reversed", "tombstone"])
async def test_reduction_with_an_existing_key_changes_nothing(shop: Shop, state: str) -> None:
    product, key = await shop.stock(100), str(uuid4())
    if state == "given":
        await shop.move("restock", product, 1, key)
    elif state != "tombstone":
        await shop.reduce({product: 1}, key)
    if state in ("reversed", "tombstone"):
        await shop.reverse(key)

    async def stored() -> list[Any]:
        return [
            await shop.sql(STORED, [product], key),
            await shop.sql("SELECT * FROM movement_keys WHERE key = $1", key),
        ]

    before = await stored()
    expected = {"taken": (200, 422), "given": (422, 422)}.get(state, (409, 409))
    for pieces, status in zip((1, 2), expected, strict=True):
        assert (await shop.reduce({product: pieces}, key)).status_code == status
    assert await stored() == before


async def test_code_does_not_call_the_function_of_the_last_release(shop: Shop) -> None:
    """Migration 0005: only replicas of the last release may need it."""
    product = await shop.stock(100)
    await shop.sql("ALTER FUNCTION reduce_at_once RENAME TO reduce_at_once_away")
    try:
        assert (await shop.reduce({product: 1})).status_code == 200
    finally:
        await shop.sql("ALTER FUNCTION reduce_at_once_away RENAME TO reduce_at_once")
