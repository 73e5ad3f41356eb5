"""Entity tags of an item, and writes that are conditional on them (RFC 9110, section 13)."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.stock import Shop, assert_problem, new_id, path_of


async def tag_of(shop: Shop, product: str) -> str:
    answer = await shop.client.get(path_of(product))
    assert answer.status_code == 200
    return str(answer.headers["etag"])


async def put(shop: Shop, product: str, tag: str, **changes: Any) -> httpx2.Response:
    return await shop.client.put(path_of(product), json=changes, headers={"If-Match": tag})


async def delete(shop: Shop, product: str, tag: str) -> httpx2.Response:
    return await shop.client.delete(path_of(product), headers={"If-Match": tag})


async def test_every_response_with_one_item_has_the_etag_of_its_state(shop: Shop) -> None:
    product = new_id()
    body = {"product_id": product, "product_name": "Headphones", "quantity": 50}
    answers = [
        await shop.client.post("/api/inventory", json=body),
        await shop.put(product, quantity=40),
        await shop.put(product, quantity=50),
        await shop.move("restock", product, 5),
        await shop.move("reduce", product, 5),
        await shop.move("restock", product, 5, key=str(uuid4())),
        await shop.move("reduce", product, 5, key=str(uuid4())),
        await shop.move("reduce", product, 48),
    ]
    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == len(tags)
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)
    assert tags[-1] == await tag_of(shop, product)
    unchanged = await shop.put(product)
    assert unchanged.headers["etag"] == tags[-1]


async def test_movements_of_several_items_change_their_etags(shop: Shop) -> None:
    product, key = await shop.stock(50), str(uuid4())
    tags = [await tag_of(shop, product)]
    for call in (shop.reduce({product: 3}, key), shop.reverse(key)):
        assert (await call).status_code == 200
        tags.append(await tag_of(shop, product))
    assert len(set(tags)) == 3


async def test_repeated_movement_returns_the_etag_of_its_first_response(shop: Shop) -> None:
    product, key = await shop.stock(50), str(uuid4())
    first = await shop.move("reduce", product, 3, key)
    await shop.move("restock", product, 3)
    again = await shop.move("reduce", product, 3, key)
    assert (again.json(), again.headers["etag"]) == (first.json(), first.headers["etag"])
    assert_problem(await put(shop, product, again.headers["etag"], quantity=1), 412)


async def test_get_with_current_tag_in_if_none_match_returns_304(shop: Shop) -> None:
    product = await shop.stock(5)
    tag = await tag_of(shop, product)
    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await shop.client.get(path_of(product), headers={"If-None-Match": value})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    await shop.move("reduce", product, 1)
    changed = await shop.client.get(path_of(product), headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["quantity"]) == (200, 4)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_write_with_stale_tag_returns_412_and_changes_nothing(
    shop: Shop, method: str
) -> None:
    product = await shop.stock(10)
    stale = await tag_of(shop, product)
    await shop.move("reduce", product, 3)
    before = await shop.client.get(path_of(product))
    changes: list[Any] = [{"quantity": 10}, {}] if method == "PUT" else [None]
    for value in (stale, '"no-such"', f"W/{before.headers['etag']}", f'{stale}, "x"'):
        for change in changes:
            answer = await shop.client.request(
                method, path_of(product), json=change, headers={"If-Match": value}
            )
            assert assert_problem(answer, 412)["type"] == "/problems/precondition-failed"
    exists = {"If-None-Match": "*"}
    answer = await shop.client.request(method, path_of(product), json=changes[0], headers=exists)
    assert_problem(answer, 412)
    after = await shop.client.get(path_of(product))
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])
    await shop.assert_ledger_is_right(product)


@pytest.mark.parametrize("listed", ["{}", '"other", {}', '{},"other"', "*"])
async def test_write_with_current_tag_is_done(shop: Shop, listed: str) -> None:
    product = await shop.stock(10)
    changed = await put(shop, product, listed.format(await tag_of(shop, product)), quantity=12)
    assert (changed.status_code, changed.json()["quantity"]) == (200, 12)
    deleted = await delete(shop, product, listed.format(changed.headers["etag"]))
    assert deleted.status_code == 200
    assert_problem(await shop.client.get(path_of(product)), 404)


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", ["7", "", "*, *", '"a" "b"', '"open'])
async def test_malformed_precondition_returns_400(shop: Shop, header: str, value: str) -> None:
    product = await shop.stock(10)
    for method in ("GET", "PUT", "DELETE"):
        content = {"quantity": 1} if method == "PUT" else None
        answer = await shop.client.request(
            method, path_of(product), json=content, headers={header: value}
        )
        assert_problem(answer, 400)
    assert await shop.quantity(product) == 10


@pytest.mark.parametrize("value", ["*", '"1"'])
async def test_precondition_on_unknown_product_returns_404(shop: Shop, value: str) -> None:
    path = path_of(new_id())
    for method in ("GET", "PUT", "DELETE"):
        content = {"quantity": 1} if method == "PUT" else None
        answer = await shop.client.request(method, path, json=content, headers={"If-Match": value})
        assert_problem(answer, 404)


async def test_tag_of_a_deleted_item_does_not_match_its_successor(shop: Shop) -> None:
    product = await shop.stock(10)
    stale = await tag_of(shop, product)
    await shop.client.delete(path_of(product))
    await shop.stock(10, product)
    assert_problem(await put(shop, product, stale, quantity=5), 412)
    assert_problem(await delete(shop, product, stale), 412)


async def test_stale_count_after_an_order_is_refused(shop: Shop) -> None:
    """Stock is 10, an order takes 3, then an editor writes the outdated count of 10."""
    product = await shop.stock(10)
    page = await shop.client.get(path_of(product))
    assert (await shop.reduce({product: 3})).status_code == 200
    saved = await put(shop, product, page.headers["etag"], quantity=page.json()["quantity"])
    assert_problem(saved, 412)
    assert_problem(await shop.reduce({product: 8}), 400, "Insufficient stock")
    assert await shop.quantity(product) == 7


async def test_promise_66_exactly_one_of_twenty_writers_with_one_tag_wins(shop: Shop) -> None:
    """Promise 66: edits and deletions carry the same If-Match tag."""
    for round_ in range(20):
        product = await shop.stock(100)
        tag = await tag_of(shop, product)
        deletions = 10 * (round_ % 2)
        answers = await asyncio.gather(
            *(delete(shop, product, tag) for _ in range(deletions)),
            *(put(shop, product, tag, quantity=writer) for writer in range(20 - deletions)),
        )
        winners = [answer for answer in answers if answer.status_code == 200]
        assert len(winners) == 1
        losers = {answer.status_code for answer in answers if answer not in winners}
        if "message" in winners[0].json():
            assert losers <= {404, 412}
        else:
            assert losers == {412}
            assert await shop.quantity(product) == winners[0].json()["quantity"]
            assert await tag_of(shop, product) == winners[0].headers["etag"]
        await shop.assert_ledger_is_right(product)


async def move(shop: Shop, movement: str, product: str) -> httpx2.Response:
    if movement == "reduce":
        return await shop.reduce({product: 7})
    if movement == "restock":
        return await shop.move("restock", product, 7)
    return await shop.put(product, reserved_qty=7)


@pytest.mark.parametrize(("movement", "delta"), [("reduce", -7), ("restock", 7), ("reserve", 0)])
async def test_promise_66_concurrent_movement_is_never_overwritten(
    shop: Shop, movement: str, delta: int
) -> None:
    """Promise 66: a conditional PUT either precedes the movement or returns 412."""
    for _ in range(30):
        product = await shop.stock(100)
        tag = await tag_of(shop, product)
        moved, counted = await asyncio.gather(
            move(shop, movement, product), put(shop, product, tag, quantity=50)
        )
        assert moved.status_code == 200
        assert counted.status_code in {200, 412}
        base = 50 if counted.status_code == 200 else 100
        assert await shop.quantity(product) == base + delta
        await shop.assert_ledger_is_right(product)


async def test_updated_at_increases_although_the_clock_is_set_back(shop: Shop) -> None:
    """The entity tag is derived from it, so it must not repeat."""
    product = await shop.stock(100)
    ahead = "UPDATE inventory SET updated_at = now() + interval '1 hour' WHERE product_id = $1"
    await shop.sql(ahead, product)
    tags = [await tag_of(shop, product)]
    for call in (
        shop.reduce({product: 1}),
        shop.move("restock", product, 1),
        shop.put(product, quantity=100),
        shop.put(product, quantity=100),
    ):
        assert (await call).status_code == 200
        tags.append(await tag_of(shop, product))
    await shop.sql("UPDATE inventory SET quantity = quantity WHERE product_id = $1", product)
    tags.append(await tag_of(shop, product))
    assert len(set(tags)) == len(tags)
