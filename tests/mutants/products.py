"""Defects of product-service, and of the request coalescing that it uses for prices."""

from tests.mutants.mutant import Edit, Mutant

_PRODUCTS = "product-service/app/repositories/product_repository.py"

PRODUCTS = [
    Mutant(
        "product-is-replaced-without-a-revision-check",
        (66,),
        "product-service",
        "tests/integration/test_conditional_requests.py"
        "::test_promise_66_one_of_twenty_writers_with_same_tag_succeeds",
        (
            Edit(
                _PRODUCTS,
                'guard = {"_id": product.id, "revision": product.revision - 1}',
                'guard = {"_id": product.id}',
            ),
        ),
    ),
    Mutant(
        "price-older-than-the-request-is-served",
        (8,),
        "libs/chassis",
        "tests/unit/test_request_coalescing.py::test_late_keys_are_loaded_in_a_later_batch",
        (
            Edit(
                "libs/chassis/chassis/request_coalescing.py",
                "if batch is None or batch.started or",
                "if batch is None or batch.task.done() or",
            ),
        ),
    ),
]
