"""Domain errors with their HTTP status."""

from collections.abc import Sequence

from chassis.problems import Problem


class InvalidProductId(Problem):
    status = 400
    type = "/problems/invalid-product-id"
    title = "Invalid product id"
    example = "A product id has 1 to 100 visible characters."

    def __init__(self) -> None:
        super().__init__(self.example)


class MissingIdempotencyKey(Problem):
    status = 400
    type = "/problems/idempotency-key-missing"
    title = "Idempotency-Key missing"
    example = "This call needs an Idempotency-Key, so that it can be repeated and reversed."

    def __init__(self) -> None:
        super().__init__(self.example)


class UnknownProduct(Problem):
    status = 404
    type = "/problems/unknown-product"
    title = "Unknown product"
    example = "Inventory does not know product 6568f0a1c2d3e4f5a6b7c8d9."

    def __init__(self, *product_ids: str) -> None:
        noun = "product" if len(product_ids) == 1 else "products"
        super().__init__(
            f"Inventory does not know {noun} {', '.join(product_ids)}.",
            product_ids=list(product_ids),
        )


class ProductAlreadyExists(Problem):
    status = 409
    type = "/problems/product-already-exists"
    title = "Product already exists"
    example = "Inventory for product 6568f0a1c2d3e4f5a6b7c8d9 already exists."

    def __init__(self, product_id: str) -> None:
        super().__init__(f"Inventory for product {product_id} already exists.")


class InsufficientStock(Problem):
    """Some products are short; each is named with what was asked and what there is."""

    status = 400
    type = "/problems/insufficient-stock"
    title = "Insufficient stock"
    example = "Insufficient stock for 6568f0a1c2d3e4f5a6b7c8d9: requested 5, available 3."

    def __init__(self, short: Sequence[tuple[str, int, int]]) -> None:
        parts = (f"{product}: requested {n}, available {left}" for product, n, left in short)
        shortages = [
            {"product_id": product, "requested": n, "available_qty": left}
            for product, n, left in short
        ]
        super().__init__(f"Insufficient stock for {'; '.join(parts)}.", shortages=shortages)


class ReservedExceedsQuantity(Problem):
    status = 400
    type = "/problems/reserved-exceeds-quantity"
    title = "Reserved exceeds quantity"
    example = "reserved_qty (5) cannot be more than quantity (3)."

    def __init__(self, reserved: int, quantity: int) -> None:
        super().__init__(
            f"reserved_qty ({reserved}) cannot be more than quantity ({quantity}).",
            quantity=quantity,
            reserved_qty=reserved,
        )


class StockLimitExceeded(Problem):
    status = 400
    type = "/problems/stock-limit-exceeded"
    title = "Stock limit exceeded"
    example = "An item holds at most 1000000000 pieces; this would make it more."

    def __init__(self, limit: int) -> None:
        super().__init__(f"An item holds at most {limit} pieces; this would make it more.")


class MovementReversed(Problem):
    """The key was reversed, before or after it took anything: it takes nothing any more."""

    status = 409
    type = "/problems/movement-reversed"
    title = "Movement reversed"
    example = "The movement with this Idempotency-Key was reversed; use a new key."

    def __init__(self) -> None:
        super().__init__(self.example)


class IdempotencyKeyReused(Problem):
    status = 422
    type = "/problems/idempotency-key-reused"
    title = "Idempotency-Key reused"
    example = "This Idempotency-Key was used for another request."

    def __init__(self) -> None:
        super().__init__(self.example)
