"""Defects of inventory-service."""

from tests.mutants.mutant import Edit, Mutant

_ITEMS = "inventory-service/app/repositories/inventory_repository.py"
_STOCK = "inventory-service/app/services/stock_service.py"
_MOVEMENTS = "tests/integration/test_movements.py"
_LOAD = "tests/integration/test_promises_under_load.py"

STOCK = [
    Mutant(
        "update-without-guard",
        (1, 4),
        "inventory-service",
        f"{_MOVEMENTS}::test_promise_4_one_short_product_and_nothing_is_taken",
        (Edit(_ITEMS, "          AND i.quantity - i.reserved_qty + w.delta >= 0\n", ""),),
    ),
    Mutant(
        "read-modify-write",
        (1, 2),
        "inventory-service",
        "tests/integration/test_waiting.py"
        "::test_a_restock_that_commits_during_the_wait_is_not_overlooked",
        (
            Edit(
                _ITEMS,
                "SET quantity = i.quantity + w.delta,",
                "SET quantity = w.delta"
                " + (SELECT r.quantity FROM inventory r WHERE r.product_id = w.product_id),",
            ),
            Edit(
                _ITEMS,
                ".order_by(InventoryItem.product_id)\n            .with_for_update()\n",
                ".order_by(InventoryItem.product_id)\n",
            ),
        ),
    ),
    Mutant(
        "locks-in-the-callers-order",
        (7,),
        "inventory-service",
        f"{_LOAD}::test_promise_7_crossing_reductions_never_deadlock",
        (
            Edit(_STOCK, "return dict(sorted(pieces.items()))", "return pieces"),
            Edit(
                _ITEMS,
                "        return {row[0]: row[1] for row in await self._session.execute(statement)}",
                "        locked: dict[str, int] = {}\n"
                "        for product in products:\n"
                "            one = statement.where(InventoryItem.product_id == product)\n"
                "            locked |= {r[0]: r[1] for r in await self._session.execute(one)}\n"
                "        return locked",
            ),
        ),
    ),
    Mutant(
        "reduce-forgets-its-key",
        (5,),
        "inventory-service",
        f"{_MOVEMENTS}::test_promise_5_a_repeat_hears_the_first_answer_verbatim",
        (
            Edit(
                _STOCK,
                "        pieces = summed(lines)\n",
                "        pieces, key = summed(lines), None\n",
            ),
        ),
    ),
    Mutant(
        "reverse-gives-twice",
        (5,),
        "inventory-service",
        f"{_MOVEMENTS}::test_a_reversal_gives_back_once_and_says_the_same_twice",
        (
            Edit(
                _STOCK,
                'if row.state == "reversed":\n            self',
                "if False:\n            self",
            ),
            Edit(
                _STOCK,
                'items = await self._items.move(key, "reverse", known)',
                'items = await self._items.move(new_key("reverse"), "reverse", known)',
            ),
        ),
    ),
    Mutant(
        "one-short-product-and-the-rest-is-taken",
        (4,),
        "inventory-service",
        f"{_MOVEMENTS}::test_promise_4_one_short_product_and_nothing_is_taken",
        (
            Edit(
                _STOCK,
                "if short := pieces.keys() - items.keys():",
                "if not items and (short := pieces.keys() - items.keys()):",
            ),
        ),
    ),
]
