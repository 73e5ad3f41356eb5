"""CRUD calls on items, without concurrency."""

import asyncio
from uuid import UUID, uuid4

import pytest

from tests.stock import Shop, assert_problem, new_id, path_of

ITEM = {
    "id", "product_id", "product_name", "quantity", "reserved_qty", "available_qty",
    "created_at", "updated_at",
}  # fmt: skip


async def test_created_item_is_found(shop: Shop) -> None:
    product = new_id()
    body = {"product_id": product, "product_name": "Headphones", "quantity": 7}
    created = await shop.client.post("/api/inventory", json=body)
    assert created.status_code == 201
    item = created.json()
    assert item.keys() == ITEM
    assert str(UUID(item["id"])) == item["id"]
    assert (item["quantity"], item["reserved_qty"], item["available_qty"]) == (7, 0, 7)
    assert item["created_at"].endswith("Z")
    assert (await shop.client.get(path_of(product))).json() == item


async def test_creating_an_existing_product_is_409(shop: Shop) -> None:
    product = await shop.stock(1)
    body = {"product_id": product, "product_name": "P", "quantity": 5}
    answer = await shop.client.post("/api/inventory", json=body)
    assert "already exists" in assert_problem(answer, 409)["detail"]
    assert await shop.quantity(product) == 1


async def test_unknown_product_is_404_for_every_method(shop: Shop) -> None:
    path = path_of(new_id())
    calls = [
        shop.client.get(path),
        shop.client.get(f"{path}/check", params={"quantity": 1}),
        shop.client.put(path, json={"quantity": 1}),
        shop.client.put(path, json={}),
        shop.client.delete(path),
        shop.client.patch(f"{path}/reduce", json={"quantity": 1}),
        shop.client.patch(f"{path}/restock", json={"quantity": 1}),
    ]
    for call in calls:
        assert_problem(await call, 404, "Inventory does not know product")


@pytest.mark.parametrize(("asked", "enough"), [(4, True), (5, True), (6, False)])
async def test_check_tells_if_stock_is_sufficient(shop: Shop, asked: int, enough: bool) -> None:
    product = await shop.stock(8)
    await shop.put(product, reserved_qty=3)
    answer = await shop.client.get(path_of(product, "check"), params={"quantity": asked})
    assert answer.status_code == 200
    assert answer.json() == {
        "product_id": product,
        "requested": asked,
        "in_stock": enough,
        "available_qty": 5,
    }


async def test_put_changes_only_the_given_fields(shop: Shop) -> None:
    product = await shop.stock(8)
    renamed = (await shop.put(product, product_name="New name")).json()
    assert (renamed["product_name"], renamed["quantity"]) == ("New name", 8)
    both = (await shop.put(product, quantity=20, reserved_qty=20)).json()
    assert (both["quantity"], both["reserved_qty"], both["available_qty"]) == (20, 20, 0)
    untouched = await shop.put(product)
    assert untouched.status_code == 200
    assert untouched.json() == both
    await shop.assert_ledger_is_right(product)


@pytest.mark.parametrize("changes", [{"quantity": 4}, {"reserved_qty": 9}])
async def test_put_refuses_reserved_above_quantity(shop: Shop, changes: dict[str, int]) -> None:
    product = await shop.stock(8)
    await shop.put(product, reserved_qty=5)
    assert_problem(await shop.put(product, **changes), 400, "reserved_qty (")
    assert await shop.quantity(product) == 8


async def test_deleted_product_is_unknown_and_can_be_created_again(shop: Shop) -> None:
    product = await shop.stock(8)
    deleted = await shop.client.delete(path_of(product))
    assert deleted.status_code == 200
    assert deleted.json().keys() == {"message"}
    assert "deleted successfully" in deleted.json()["message"]
    assert_problem(await shop.client.get(path_of(product)), 404)
    assert_problem(await shop.client.delete(path_of(product)), 404)
    await shop.stock(3, product)
    await shop.assert_ledger_is_right(product)


async def test_list_pages_through_all_items_in_order(shop: Shop) -> None:
    prefix = new_id("page")
    names = [f"{prefix}-{number:02}" for number in range(7)]
    for name in reversed(names):
        await shop.stock(1, name)
    answer = await shop.client.get("/api/inventory", params={"limit": 3})
    seen = [item["product_id"] for item in answer.json()]
    while following := answer.links.get("next"):
        assert len(answer.json()) == 3
        answer = await shop.client.get(following["url"])
        seen += [item["product_id"] for item in answer.json()]
    assert seen == sorted(set(seen))
    assert [name for name in seen if name.startswith(prefix)] == names


async def test_list_without_a_limit_returns_at_most_fifty(shop: Shop) -> None:
    prefix = new_id("fifty")
    for number in range(51):
        await shop.stock(1, f"{prefix}-{number}")
    assert len((await shop.client.get("/api/inventory")).json()) == 50
    everything = await shop.client.get("/api/inventory", params={"limit": 100})
    assert len(everything.json()) > 50


STRANGE = [
    "reduce",
    "movements",
    "x/check",
    "a/b/c",
    "100%",
    "%2F",
    "a b?c=d#e",
    "ключ-键-🔑",
    "..x",
    "'; DROP TABLE inventory; --",
    "é" * 100,
]


@pytest.mark.parametrize("name", STRANGE)
async def test_product_id_may_contain_any_visible_character(shop: Shop, name: str) -> None:
    await shop.client.delete(path_of(name))
    await shop.stock(50, name)
    calls = [
        await shop.client.get(path_of(name)),
        await shop.client.get(path_of(name, "check"), params={"quantity": 3}),
        await shop.move("reduce", name, 3),
        await shop.move("restock", name, 4),
        await shop.reduce({name: 1}),
        await shop.put(name, reserved_qty=2),
    ]
    assert [answer.status_code for answer in calls] == [200] * 6
    assert await shop.quantity(name) == 50
    deleted = await shop.client.delete(path_of(name))
    assert deleted.status_code == 200


async def test_concurrent_creation_of_one_product_returns_one_201(shop: Shop) -> None:
    body = {"product_id": new_id(str(uuid4())), "product_name": "P", "quantity": 5}
    answers = await asyncio.gather(
        *(shop.client.post("/api/inventory", json=body) for _ in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    await shop.assert_ledger_is_right(str(body["product_id"]))
