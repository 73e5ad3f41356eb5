"""Reduce, restock and reverse, one call at a time: effect and response of each key."""

import json
import unicodedata
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI

from app.errors import IdempotencyKeyReused
from app.schemas.inventory import MAX_STOCK, Amount
from app.services.stock_service import Answer, StockService
from tests.stock import Shop, assert_problem, new_id, path_of


async def keys(shop: Shop, key: str) -> int:
    return len(await shop.sql("SELECT 1 FROM movement_keys WHERE key = $1", key))


async def test_reduction_takes_all_of_its_products(shop: Shop) -> None:
    a, b = await shop.stock(20), await shop.stock(20)
    answer = await shop.reduce({b: 3, a: 2})
    assert answer.status_code == 200
    taken = {item["product_id"]: item["available_qty"] for item in answer.json()}
    assert taken == {a: 18, b: 17}
    await shop.assert_ledger_is_right(a, b)


async def test_promise_4_reduction_with_one_short_product_takes_nothing(shop: Shop) -> None:
    """Promise 4: all or none; the error lists each product with insufficient stock."""
    a, b, c = await shop.stock(20), await shop.stock(2), await shop.stock(0)
    key = str(uuid4())
    problem = assert_problem(await shop.reduce({a: 5, b: 3, c: 1}, key), 400, "Insufficient stock")
    assert b in problem["detail"]
    assert c in problem["detail"]
    assert a not in problem["detail"]
    assert [await shop.quantity(product) for product in (a, b, c)] == [20, 2, 0]
    await shop.assert_ledger_is_right(a, b, c)
    assert await keys(shop, key) == 0


async def test_refused_reduction_can_be_retried_with_its_key(shop: Shop) -> None:
    product, key = await shop.stock(1), str(uuid4())
    assert_problem(await shop.reduce({product: 2}, key), 400, "Insufficient stock")
    await shop.move("restock", product, 5)
    assert (await shop.reduce({product: 2}, key)).status_code == 200
    assert await shop.quantity(product) == 4


async def test_reduction_with_unknown_product_takes_nothing_and_names_it(shop: Shop) -> None:
    product, unknown, key = await shop.stock(5), new_id(), str(uuid4())
    problem = assert_problem(await shop.reduce({product: 99, unknown: 1}, key), 404)
    assert unknown in problem["detail"]
    assert product not in problem["detail"]
    assert await shop.quantity(product) == 5
    assert await keys(shop, key) == 0


async def test_reserved_stock_cannot_be_taken(shop: Shop) -> None:
    product = await shop.stock(10)
    await shop.put(product, reserved_qty=4)
    assert_problem(await shop.reduce({product: 7}), 400, "Insufficient stock")
    assert_problem(await shop.move("reduce", product, 7), 400, "Insufficient stock")
    assert (await shop.move("reduce", product, 6)).json()["available_qty"] == 0


async def test_lines_of_the_same_product_are_summed(shop: Shop) -> None:
    product, key = await shop.stock(10), str(uuid4())
    lines = [{"product_id": product, "quantity": n} for n in (4, 5)]

    async def call(more: int) -> int:
        answer = await shop.client.patch(
            "/api/inventory/reduce",
            json={"items": [*lines, {"product_id": product, "quantity": more}]},
            headers={"Idempotency-Key": key},
        )
        return answer.status_code

    assert await call(2) == 400
    assert await call(1) == 200
    assert await shop.quantity(product) == 0
    assert (
        await shop.reduce({product: 10}, key)
    ).status_code == 200  # the same request in another form


async def test_reduce_needs_a_key(shop: Shop) -> None:
    product = await shop.stock(10)
    body = {"items": [{"product_id": product, "quantity": 1}]}
    assert_problem(await shop.client.patch("/api/inventory/reduce", json=body), 400)
    for bad in ("", "a b", "x" * 256):
        headers = {"Idempotency-Key": bad}
        answer = await shop.client.patch("/api/inventory/reduce", json=body, headers=headers)
        assert_problem(answer, 400)
    assert await shop.quantity(product) == 10


async def test_promise_5_repeat_returns_the_first_response_verbatim(shop: Shop) -> None:
    """Promise 5: sequential repeats get the first response although the stock has changed."""
    a, b, key = await shop.stock(20), await shop.stock(20), str(uuid4())
    first = await shop.reduce({a: 1, b: 2}, key)
    await shop.move("restock", a, 50)
    await shop.client.delete(path_of(b))
    for order in ({a: 1, b: 2}, {b: 2, a: 1}):
        again = await shop.reduce(order, key)
        assert (again.status_code, again.content) == (200, first.content)
    assert await shop.quantity(a) == 69


async def test_promise_5_restock_with_a_key_adds_once(shop: Shop) -> None:
    """Promise 5, for restock."""
    product, key = await shop.stock(1), str(uuid4())
    answers = [await shop.move("restock", product, 5, key) for _ in range(3)]
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (200, answers[0].content)
    }
    assert await shop.quantity(product) == 6
    assert_problem(await shop.move("restock", product, 4, key), 422)


async def test_calls_without_a_key_take_effect_each_time(shop: Shop) -> None:
    product = await shop.stock(100)
    for _ in range(2):
        assert (await shop.move("reduce", product, 10)).status_code == 200
        assert (await shop.move("restock", product, 1)).status_code == 200
    assert await shop.quantity(product) == 82
    await shop.assert_ledger_is_right(product)


async def test_key_is_bound_to_one_request_of_one_call(shop: Shop) -> None:
    a, b, key = await shop.stock(20), await shop.stock(20), str(uuid4())
    first = await shop.move("reduce", a, 3, key)
    same = await shop.reduce({a: 3}, key)
    assert same.json() == [first.json()]
    others = [
        await shop.reduce({a: 4}, key),
        await shop.reduce({a: 3, b: 1}, key),
        await shop.move("reduce", b, 3, key),
        await shop.move("restock", a, 3, key),
    ]
    for other in others:
        assert_problem(other, 422, "This Idempotency-Key was used")
    assert (await shop.quantity(a), await shop.quantity(b)) == (17, 20)


async def test_repeated_reversal_returns_stock_once_and_replays_its_response(shop: Shop) -> None:
    a, b, key = (
        await shop.stock(20),
        await shop.stock(20),
        "an order's key/with%20a slash".replace(" ", "_"),
    )
    await shop.reduce({a: 1, b: 2}, key)
    first = await shop.reverse(key)
    again = await shop.reverse(key)
    assert first.status_code == again.status_code == 200
    assert first.json() == {
        "returned": [
            {"product_id": product, "quantity": 1 if product == a else 2}
            for product in sorted((a, b))
        ]
    }
    assert again.content == first.content
    assert (await shop.quantity(a), await shop.quantity(b)) == (20, 20)
    await shop.assert_ledger_is_right(a, b)


async def test_late_reduction_after_its_reversal_takes_nothing(shop: Shop) -> None:
    """The reversal arrives before its reduction; see the tombstone in docs/order-flow.md."""
    product, key = await shop.stock(20), str(uuid4())
    assert (await shop.reverse(key)).json() == {"returned": []}
    for answer in (
        await shop.reduce({product: 1}, key),
        await shop.move("reduce", product, 1, key),
    ):
        problem = assert_problem(answer, 409)
        assert problem["type"] == "/problems/movement-reversed"
    assert (await shop.reverse(key)).json() == {"returned": []}
    assert await shop.quantity(product) == 20


async def test_reversed_key_cannot_reduce_again(shop: Shop) -> None:
    product, key = await shop.stock(20), str(uuid4())
    await shop.reduce({product: 1}, key)
    await shop.reverse(key)
    for pieces in ({product: 1}, {product: 2}):
        assert_problem(await shop.reduce(pieces, key), 409)
    assert await shop.quantity(product) == 20


async def test_reversing_a_restock_gives_nothing_back(shop: Shop) -> None:
    """The restock took nothing: its pieces stay, and its key still replays its response."""
    product, key = await shop.stock(1), str(uuid4())
    first = await shop.move("restock", product, 5, key)
    assert (await shop.reverse(key)).json() == {"returned": []}
    assert (await shop.move("restock", product, 5, key)).content == first.content
    assert await shop.quantity(product) == 6


async def test_reversal_skips_and_counts_a_deleted_product(shop: Shop, app: FastAPI) -> None:
    def skipped() -> float:
        return float(app.state.metrics.lost_returns._value.get())

    a, b, key = await shop.stock(20), await shop.stock(20), str(uuid4())
    await shop.reduce({a: 1, b: 2}, key)
    await shop.client.delete(path_of(b))
    before = skipped()
    answer = await shop.reverse(key)
    assert answer.json() == {"returned": [{"product_id": a, "quantity": 1}]}
    await shop.stock(7, b)
    assert (await shop.reverse(key)).content == answer.content
    assert skipped() == before + 1
    assert (await shop.quantity(a), await shop.quantity(b)) == (20, 7)
    await shop.assert_ledger_is_right(a, b)


@pytest.mark.parametrize("key", ["a b", "\x00", "é", "x" * 256])
async def test_reversal_with_malformed_key_is_400(shop: Shop, key: str) -> None:
    assert_problem(await shop.reverse(key), 400)


async def test_restock_above_the_maximum_stock_is_400(shop: Shop) -> None:
    product, key = await shop.stock(MAX_STOCK - 1), str(uuid4())
    assert_problem(await shop.move("restock", product, 2, key), 400, "An item holds at most")
    assert await keys(shop, key) == 0
    assert (await shop.move("restock", product, 1, key)).json()["quantity"] == MAX_STOCK


async def test_reversal_may_exceed_the_maximum_stock(shop: Shop) -> None:
    """A refusal would leave the order's stock debt open forever."""
    product, key = await shop.stock(1_000_000), str(uuid4())
    await shop.reduce({product: 1_000_000}, key)
    await shop.put(product, quantity=MAX_STOCK)
    assert (await shop.reverse(key)).status_code == 200
    assert await shop.quantity(product) == MAX_STOCK + 1_000_000
    await shop.assert_ledger_is_right(product)


async def test_reduction_accepts_at_most_a_hundred_products(shop: Shop) -> None:
    products = [await shop.stock(5) for _ in range(100)]
    answer = await shop.reduce(dict.fromkeys(products, 1_000_000))
    assert len(assert_problem(answer, 400)["shortages"]) == 100
    assert (await shop.reduce(dict.fromkeys(products, 5))).status_code == 200
    assert_problem(await shop.reduce(dict.fromkeys([*products, "one-more"], 1)), 422)
    await shop.assert_ledger_is_right(*products)


async def store_key(shop: Shop, key: str, request: dict[str, Any], answer: str) -> None:
    """Store a key with the white space and member order of another release."""
    await shop.sql(
        "INSERT INTO movement_keys (key, state, request, answer) VALUES ($1, $2, $3, $4)",
        *(key, "taken" if request["kind"] == "reduce" else "given", json.dumps(request), answer),
    )


def item_of_the_last_release(product: str) -> str:
    """Return an item response of the last release, without fields added since."""
    moment = "2026-11-29T10:00:00.000001Z"
    item = {"id": str(uuid4()), "product_id": product, "product_name": "P", "quantity": 3}
    item |= {"reserved_qty": 0, "available_qty": 3, "created_at": moment, "updated_at": moment}
    return json.dumps(item, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("kind", ["reduce", "restock"])
async def test_key_of_another_release_replays_its_stored_answer(shop: Shop, kind: str) -> None:
    """Byte for byte: the stored response lacks a current field and has a removed one."""
    product, key = await shop.stock(3), str(uuid4())
    stored = item_of_the_last_release(product).replace('"reserved_qty":0,', '"of_then":0,')
    await store_key(shop, key, {"items": [[product, 2.0]], "kind": kind}, f"[{stored}]")
    again = await shop.move(kind, product, 2, key)
    assert (again.status_code, again.text) == (200, stored)
    assert again.headers["idempotent-replayed"] == "true"
    assert_problem(await shop.move(kind, product, 3, key), 422)
    assert await shop.quantity(product) == 3


async def test_reversal_stored_by_another_release_is_replayed(shop: Shop) -> None:
    key, stored = str(uuid4()), '{"returned":[],"of_then":1}'
    await shop.sql(
        "INSERT INTO movement_keys (key, state, answer) VALUES ($1, 'reversed', $2)", key, stored
    )
    again = await shop.reverse(key)
    assert (again.status_code, again.text) == (200, stored)


async def test_equivalent_json_with_same_key_is_a_replay(shop: Shop) -> None:
    a, b = await shop.stock(20), await shop.stock(20, new_id("é"))
    headers = {"Idempotency-Key": str(uuid4()), "Content-Type": "application/json"}
    bodies = [
        f'{{"items":[{{"product_id":"{a}","quantity":1}},{{"product_id":"{b}","quantity":2}}]}}',
        f'{{"items": [ {{"quantity": 2, "product_id": "{b}"}},'
        f' {{"quantity": 1, "product_id": "{a}"}} ]}}',
        json.dumps({"items": [{"product_id": p, "quantity": n} for p, n in ((b, 2), (a, 1))]}),
        json.dumps(
            {
                "items": [
                    {"product_id": unicodedata.normalize("NFD", p), "quantity": n}
                    for p, n in ((a, 1), (b, 2))
                ]
            }
        ),
    ]
    answers = [
        await shop.client.patch("/api/inventory/reduce", content=body.encode(), headers=headers)
        for body in bodies
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (200, answers[0].content)
    }
    assert (await shop.quantity(a), await shop.quantity(b)) == (19, 18)


class AmountWithReason(Amount):
    """The body of a later release, which has one more optional field."""

    reason: str | None = None


async def test_optional_field_of_a_later_release_counts_only_with_a_value(
    shop: Shop, app: FastAPI
) -> None:
    product, key = await shop.stock(20), str(uuid4())
    first = await shop.move("restock", product, 5, key)
    stock: StockService = app.state.stock

    async def later(**body: Any) -> Answer:
        amount = AmountWithReason.model_validate({"quantity": 5, **body})
        return await stock.restock(product, amount.quantity, key, amount.options)

    for body in ({}, {"reason": None}):
        again = await later(**body)
        assert (json.loads(again.body), again.replayed) == ([first.json()], True)
    with pytest.raises(IdempotencyKeyReused):
        await later(reason="a delivery")


async def test_only_a_replayed_response_has_the_replayed_header(shop: Shop) -> None:
    product, (a, b, c, d) = await shop.stock(20), [str(uuid4()) for _ in range(4)]
    pairs = [
        [await shop.reduce({product: 1}, a) for _ in range(2)],
        [await shop.move("reduce", product, 1, b) for _ in range(2)],
        [await shop.move("restock", product, 1, c) for _ in range(2)],
        [await shop.reverse(a) for _ in range(2)],
        [await shop.reverse(d) for _ in range(2)],  # a key that was never seen
    ]
    for first, again in pairs:
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
