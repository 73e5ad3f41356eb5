"""reduce_at_once, the function of migration 0002: it does all of a reduction, or nothing at all.

That `StockService` goes the long way where it does nothing, and what both do for those who wait, is
in the other files: they know no difference. Here is what only this way can get wrong.
"""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.repositories.reductions import reduce_at_once
from app.schemas.inventory import Item
from tests.stock import Shop, new_id, path_of

LOW = 10
STORED = """
    SELECT (SELECT array_agg(i ORDER BY i.product_id) FROM inventory i
            WHERE i.product_id = ANY ($1::text[]))::text AS items,
        (SELECT count(*) FROM movement_keys WHERE key = $2) AS keys,
        (SELECT count(*) FROM stock_movements WHERE product_id = ANY ($1::text[])) AS lines
"""


async def at_once(shop: Shop, key: str, pieces: dict[str, int]) -> str | None:
    request = {"kind": "reduce", "items": [list(pair) for pair in pieces.items()]}
    async with shop.database.connection() as connection:
        return await reduce_at_once(connection, key, request, pieces, LOW)


@pytest.fixture
def spans(shop: Shop) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()  # the app's, as `shop` has started it
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


@pytest.mark.parametrize("name", ["Wireless Headphones", "\"q\" \\ / 'a' é 键 🔑 \u2028", "{}[],:"])
async def test_its_answer_is_what_the_item_is(shop: Shop, name: str) -> None:
    """The function writes JSON itself: field for field as `Item` does, and in its order."""
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
    assert (await shop.reduce(dict.fromkeys(products, 2), key)).content == answer.content


async def test_its_times_are_in_utc_wherever_the_server_is(shop: Shop) -> None:
    product = await shop.stock(100)
    async with shop.database.transaction() as connection:
        await connection.execute("SET LOCAL timezone TO 'Asia/Kolkata'")
        told = await reduce_at_once(connection, str(uuid4()), {}, {product: 1}, LOW)
    [item] = json.loads(told or "")
    now = (await shop.client.get(path_of(product))).json()
    assert Item.model_validate(item) == Item.model_validate(now)
    assert item["updated_at"].endswith("Z")


async def test_an_ordinary_reduction_asks_the_database_once(
    shop: Shop, spans: InMemorySpanExporter
) -> None:
    a, b, trace_id = await shop.stock(100), await shop.stock(100), uuid4()
    shop.client.headers["traceparent"] = f"00-{trace_id.hex}-00f067aa0ba902b7-01"
    try:
        for pieces, uses in (({a: 1}, 1), ({a: 1, b: 2}, 1), ({a: 95}, 2)):
            spans.clear()
            assert (await shop.reduce(pieces)).status_code == 200
            finished = spans.get_finished_spans()
            mine = [one for one in finished if one.context.trace_id == trace_id.int]
            assert len([one for one in mine if one.name == "transaction"]) == uses
    finally:
        del shop.client.headers["traceparent"]


async def test_it_does_nothing_where_there_is_more_to_say(shop: Shop) -> None:
    """Short, unknown, reserved, or about to be low: neither a piece, a line nor a key is left."""
    a, b, empty = await shop.stock(100), await shop.stock(100), await shop.stock(0)
    low = await shop.stock(LOW - 1)
    await shop.put(b, reserved_qty=60)
    assert await at_once(shop, str(uuid4()), {low: 2}) is not None  # is low: falls no more
    for pieces in (
        {a: 101},
        {b: 41},
        {empty: 1},
        {a: 1, empty: 1},
        {a: 1, b: 41},
        {new_id(): 1},
        {a: 1, new_id(): 1},
        {a: 91},
        {b: 31, a: 1},
    ):
        key, products = str(uuid4()), [a, b, empty]
        before = await shop.sql(STORED, products, key)
        assert await at_once(shop, key, dict(sorted(pieces.items()))) is None, pieces
        assert await shop.sql(STORED, products, key) == before
        assert before[0]["keys"] == 0
    await shop.assert_ledger_is_right(a, b, empty, low)


@pytest.mark.parametrize("state", ["taken", "given", "reversed", "tombstone"])
async def test_it_does_nothing_with_a_key_that_is_known(shop: Shop, state: str) -> None:
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
    for pieces in (1, 2):
        assert await at_once(shop, key, {product: pieces}) is None
    assert await stored() == before
