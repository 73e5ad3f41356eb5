"""Problems of orders, each with its status."""

from collections.abc import Mapping
from typing import ClassVar

from chassis.problems import Problem, ServiceUnavailable


class MalformedId(Problem):
    status = 400
    type = "/problems/malformed-id"
    title = "Malformed id"
    example = "An order's id is a UUID."


class OrderNotFound(Problem):
    status = 404
    type = "/problems/order-not-found"
    title = "Order not found"
    example = "There is no order 7c9e6679-7425-40de-944b-e07fc1f90ae7."


class ProductUnknown(Problem):
    status = 404
    type = "/problems/product-unknown"
    title = "Product unknown"
    example = "There is no stock of product 6568f0a1c2d3e4f5a6b7c8d9."


class OutOfStock(Problem):
    status = 400
    type = "/problems/insufficient-stock"
    title = "Insufficient stock"
    example = "Insufficient stock of 6568f0a1c2d3e4f5a6b7c8d9: 2 asked for, 1 available."


class PriceChanged(Problem):
    """Members: `product_id` and its `current_price`, of the first such item."""

    status = 409
    type = "/problems/price-changed"
    title = "Price changed"
    example = "6568f0a1c2d3e4f5a6b7c8d9 costs 79.99, not 74.99."
    example_members: ClassVar[Mapping[str, object]] = {
        "product_id": "6568f0a1c2d3e4f5a6b7c8d9",
        "current_price": 79.99,
    }


class ProductUnavailable(Problem):
    """Deleted from the catalogue. Member: `product_id`, of the first such item."""

    status = 409
    type = "/problems/product-unavailable"
    title = "Product unavailable"
    example = "Not for sale: 6568f0a1c2d3e4f5a6b7c8d9."
    example_members: ClassVar[Mapping[str, object]] = {"product_id": "6568f0a1c2d3e4f5a6b7c8d9"}


class CatalogueUnavailable(ServiceUnavailable):
    type = "/problems/catalogue-unavailable"
    title = "Catalogue unavailable"
    example = "The prices cannot be asked right now. No order was placed; try again shortly."


class InventoryUnavailable(ServiceUnavailable):
    type = "/problems/inventory-unavailable"
    title = "Inventory unavailable"
    example = "The stock cannot be asked right now. No order was placed; try again shortly."


class Busy(ServiceUnavailable):
    type = "/problems/busy"
    title = "Busy"
    example = "Too many orders are being placed at this moment; try again shortly."


class PlacingInterrupted(ServiceUnavailable):
    """The recovery loop cancelled the order because its request took too long."""

    type = "/problems/placing-interrupted"
    title = "Placing interrupted"
    example = "Placing the order took too long and was given up. No order stands; try again."


class OrderCancelled(Problem):
    status = 409
    type = "/problems/order-cancelled"
    title = "Order cancelled"
    example = "The order was cancelled while it was being placed."


class RequestInProgress(Problem):
    status = 409
    type = "/problems/request-in-progress"
    title = "Request in progress"
    example = "A request with this Idempotency-Key is still running; try again shortly."


class IdempotencyKeyReused(Problem):
    status = 422
    type = "/problems/idempotency-key-reused"
    title = "Idempotency-Key reused"
    example = "This Idempotency-Key was used for another request."


class OutcomeUnknown(Problem):
    status = 500
    type = "/problems/outcome-unknown"
    title = "Outcome unknown"
    example = "The order may or may not stand. The same Idempotency-Key will tell."


class CannotCancel(Problem):
    status = 400
    type = "/problems/cannot-cancel"
    title = "Cannot cancel"
    example = "Cannot cancel an order that is SHIPPED."


class InvalidTransition(Problem):
    status = 400
    type = "/problems/invalid-transition"
    title = "Invalid transition"
    example = "An order that is PENDING cannot become SHIPPED."


class Unauthenticated(Problem):
    status = 401
    title = "Unauthorized"
    example = "This call needs a valid token."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class IdentityProviderUnavailable(ServiceUnavailable):
    example = "Tokens cannot be verified: the identity provider has not given its keys yet."


class Forbidden(Problem):
    status = 403
    title = "Forbidden"
    example = "This order belongs to another customer."
