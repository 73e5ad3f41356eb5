"""Defects of inventory-service."""

from tests.mutants.mutant import Edit, Mutant

_ITEMS = "inventory-service/app/repositories/inventory_repository.py"
_STOCK = "inventory-service/app/services/stock_service.py"
_AT_ONCE = "inventory-service/migrations/versions/0002_reduce_at_once.py"
_MOVEMENTS = "tests/integration/test_movements.py"
_LOAD = "tests/integration/test_promises_under_load.py"
_WAITING = "tests/integration/test_waiting.py"

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
        f"{_WAITING}::test_a_restock_that_commits_during_the_wait_is_not_overlooked",
        (
            Edit(
                _ITEMS,
                "SET quantity = i.quantity + w.delta,",
                "SET quantity = w.delta"
                " + (SELECT r.quantity FROM inventory r WHERE r.product_id = w.product_id),",
            ),
            Edit(
                _ITEMS,
                "    ORDER BY product_id\n    FOR UPDATE\n",
                "    ORDER BY product_id\n",
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
                _AT_ONCE,
                "JOIN unnest(products, pieces) AS w (product_id, n) USING (product_id)\n"
                "        ORDER BY i.product_id\n",
                "JOIN unnest(products, pieces) WITH ORDINALITY AS w (product_id, n, line)"
                " USING (product_id)\n        ORDER BY w.line\n",
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
    Mutant(
        "at-once-without-guard",
        (1, 4),
        "inventory-service",
        "tests/integration/test_at_once.py::test_it_does_nothing_where_there_is_more_to_say",
        (Edit(_AT_ONCE, "WHERE available >= n AND (available < low", "WHERE (available < low"),),
    ),
    Mutant(
        "at-once-without-locks",
        (1, 2),
        "inventory-service",
        f"{_WAITING}::test_one_product_is_judged_as_it_is_after_the_wait",
        (Edit(_AT_ONCE, "        FOR UPDATE OF i\n", ""),),
    ),
    Mutant(
        "at-once-keeps-the-key-of-what-it-refused",
        (4, 5),
        "inventory-service",
        f"{_MOVEMENTS}::test_a_refused_reduction_may_try_again_with_its_key",
        (Edit(_AT_ONCE, "        DELETE FROM movement_keys WHERE key = this_key;\n", ""),),
    ),
    Mutant(
        "at-once-says-nothing-of-low-stock",
        (16,),
        "inventory-service",
        "tests/integration/test_low_stock.py::test_a_fall_below_the_threshold_is_told_once",
        (Edit(_AT_ONCE, " AND (available < low OR available - n >= low)", ""),),
    ),
    Mutant(
        "if-match-is-compared-without-a-lock",
        (66,),
        "inventory-service",
        "tests/integration/test_conditional_requests.py"
        "::test_promise_66_of_twenty_writers_with_one_tag_exactly_one_wins",
        (Edit(_ITEMS, 'f"{_GET} FOR UPDATE"', "_GET"),),
    ),
]
