"""Defects of product-service."""

from tests.mutants.mutant import Edit, Mutant

_PRODUCTS = "product-service/app/repositories/product_repository.py"

PRODUCTS = [
    Mutant(
        "product-is-replaced-whatever-its-revision",
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
]
