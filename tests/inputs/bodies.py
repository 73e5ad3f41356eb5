"""Valid request bodies for the rows to begin with."""

from tests.inputs.steps import INVENTORY, Request

ITEM = {"product_id": "p", "product_name": "P", "quantity": 1, "unit_price": 1}
ORDER_BODY = {"customer_name": "A", "customer_email": "alice@example.com", "items": [ITEM]}
PRODUCT_BODY = {
    "name": "A",
    "description": "",
    "price": 1,
    "category": "A",
    "tags": ["a"],
    "stock_quantity": 1,
}


def stock(quantity: int, product: str = "p-{unique}") -> Request:
    """Return the request that creates a product which only inventory knows."""
    body = {"product_id": product, "product_name": "A thing", "quantity": quantity}
    return Request("POST", "/api/inventory", 201, body, at=INVENTORY)


def order_of(product: str, quantity: float, **about: object) -> dict[str, object]:
    """Return the body of an order of one product, for Alice unless told."""
    item = {**ITEM, "product_id": product, "quantity": quantity}
    return {**ORDER_BODY, "items": [item], **about}
