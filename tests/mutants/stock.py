"""Defects of inventory-service."""

from tests.mutants.mutant import Edit, Mutant

_ITEMS = "inventory-service/app/repositories/inventory_repository.py"
_STOCK = "inventory-service/app/services/stock_service.py"
_MOVEMENTS = "tests/integration/test_movements.py"
_LOAD = "tests/integration/test_promises_under_load.py"
_REDUCTIONS = "tests/integration/test_reductions.py"
_WAITING = "tests/integration/test_waiting.py"

_GUARD = "        _available + deltas.c.delta >= 0,\n"
_LOCK = "    .order_by(_items.c.product_id)\n    .with_for_update()\n"

STOCK = [
    Mutant(
        "update-without-guard",
        (1, 4),
        "inventory-service",
        f"{_MOVEMENTS}::test_promise_4_reduction_with_one_short_product_takes_nothing",
        (Edit(_ITEMS, _GUARD, ""),),
    ),
    Mutant(
        "read-modify-write",
        (1, 2),
        "inventory-service",
        f"{_WAITING}::test_reduction_uses_a_restock_committed_during_its_wait",
        (
            Edit(
                _ITEMS,
                "quantity=_items.c.quantity + deltas.c.delta",
                "quantity=deltas.c.delta + (lambda read: select(read.c.quantity).where("
                "read.c.product_id == deltas.c.product_id).scalar_subquery())(_items.alias())",
            ),
            Edit(_ITEMS, _LOCK, "    .order_by(_items.c.product_id)\n"),
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
                _LOCK,
                "    .order_by(func.array_position("
                'bindparam("products", type_=ARRAY(Text)), _items.c.product_id))\n'
                "    .with_for_update()\n",
            ),
        ),
    ),
    Mutant(
        "reduce-forgets-its-key",
        (5,),
        "inventory-service",
        f"{_MOVEMENTS}::test_promise_5_repeat_returns_the_first_response_verbatim",
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
        f"{_MOVEMENTS}::test_repeated_reversal_returns_stock_once_and_replays_its_response",
        (
            Edit(
                _STOCK,
                'if row.state == "reversed":\n                self',
                "if False:\n                self",
            ),
            Edit(
                _STOCK,
                'items = await repository.move(key, "reverse", known)',
                'items = await repository.move(new_key("reverse"), "reverse", known)',
            ),
        ),
    ),
    Mutant(
        "short-product-does-not-stop-the-reduction",
        (4,),
        "inventory-service",
        f"{_MOVEMENTS}::test_promise_4_reduction_with_one_short_product_takes_nothing",
        (
            Edit(
                _STOCK,
                "if short := pieces.keys() - items.keys():",
                "if not items and (short := pieces.keys() - items.keys()):",
            ),
        ),
    ),
    Mutant(
        "guard-ignores-the-reserved-quantity",
        (1, 4),
        "inventory-service",
        f"{_REDUCTIONS}::test_refused_reduction_stores_nothing",
        (Edit(_ITEMS, _GUARD, "        _items.c.quantity + deltas.c.delta >= 0,\n"),),
    ),
    Mutant(
        "guard-sells-one-piece-too-many",
        (1,),
        "inventory-service",
        f"{_LOAD}::test_promise_1_two_hundred_buyers_get_exactly_ten_pieces",
        (Edit(_ITEMS, _GUARD, "        _available + deltas.c.delta >= -1,\n"),),
    ),
    Mutant(
        "items-are-not-locked-before-the-update",
        (1, 2),
        "inventory-service",
        f"{_WAITING}::test_one_product_reduction_decides_by_the_state_after_its_wait",
        (Edit(_ITEMS, _LOCK, "    .order_by(_items.c.product_id)\n"),),
    ),
    Mutant(
        "refused-reduction-keeps-its-key",
        (4, 5),
        "inventory-service",
        f"{_MOVEMENTS}::test_refused_reduction_can_be_retried_with_its_key",
        (
            Edit(
                _STOCK,
                "                if short := pieces.keys() - items.keys():\n",
                "                if short := pieces.keys() - items.keys():\n"
                "                    await connection.commit()\n",
            ),
        ),
    ),
    Mutant(
        "reduction-forgets-low-stock",
        (16,),
        "inventory-service",
        "tests/integration/test_low_stock.py::test_fall_below_the_threshold_writes_one_event",
        (
            Edit(
                _STOCK,
                "await self._watch.note(connection, item, available[product])",
                "pass",
            ),
        ),
    ),
    Mutant(
        "if-match-is-compared-without-a-lock",
        (66,),
        "inventory-service",
        "tests/integration/test_conditional_requests.py"
        "::test_promise_66_exactly_one_of_twenty_writers_with_one_tag_wins",
        (Edit(_ITEMS, "_GET_LOCKED = _GET.with_for_update()", "_GET_LOCKED = _GET"),),
    ),
]
