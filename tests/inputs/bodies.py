"""Reported inputs: request bodies that are too large, empty to the eye, or another spelling."""

from collections.abc import Iterator

from tests.inputs.matching import Contains
from tests.inputs.steps import (
    AI,
    INVENTORY,
    ORDER,
    PROBLEM,
    PRODUCT,
    Case,
    Request,
)

TOO_MUCH = (413, 422)
INVISIBLE = ("\u200b", "\u3164", "\u2060")
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
STOCK_BODY = {"product_id": "invisible-{unique}", "product_name": "A", "quantity": 1}
MANY_MEMBERS = {f"m{number}": 1 for number in range(60_000)}


def without_visible_text() -> Iterator[Request]:
    """Yield a request for each text field and each character that shows nothing."""
    bodies = (
        (PRODUCT, "/api/products", PRODUCT_BODY, ("name", "category")),
        (INVENTORY, "/api/inventory", STOCK_BODY, ("product_id", "product_name")),
        (ORDER, "/api/orders", ORDER_BODY, ("customer_name",)),
    )
    for text in INVISIBLE:
        for service, path, body, fields in bodies:
            for name in fields:
                yield Request("POST", path, 422, {**body, name: text}, at=service)
        yield Request("POST", "/api/products", 422, {**PRODUCT_BODY, "tags": [text]}, at=PRODUCT)
        for name in ("product_id", "product_name"):
            body = {**ORDER_BODY, "items": [{**ITEM, name: text}]}
            yield Request("POST", "/api/orders", 422, body, at=ORDER)
        yield Request("POST", "/api/ai/chat", 422, {"message": text}, at=AI)


def stock(quantity: int, product: str = "p-{unique}") -> Request:
    """Return the request that creates a product in inventory-service only."""
    body = {"product_id": product, "product_name": "A thing", "quantity": quantity}
    return Request("POST", "/api/inventory", 201, body, at=INVENTORY)


def order_of(product: str, quantity: float, **about: object) -> dict[str, object]:
    """Return the body of an order of one product, for Alice unless told."""
    item = {**ITEM, "product_id": product, "quantity": quantity}
    return {**ORDER_BODY, "items": [item], **about}


ROWS = [
    Case(
        "M1",
        "an order of 100,000 numbers as its items, four at once",
        [
            Request(
                "POST",
                "/api/orders",
                TOO_MUCH,
                {**ORDER_BODY, "items": [1] * 100_000},
                user="alice",
                times=4,
                answer_headers=PROBLEM,
            ),
            Request("GET", "/health/ready", at=ORDER, answer={"status": "UP"}),
        ],
    ),
    Case(
        "M2",
        "a body with 60,000 unknown members",
        [
            Request("POST", path, TOO_MUCH, MANY_MEMBERS, at=service, answer_headers=PROBLEM)
            for service, path in (
                (ORDER, "/api/orders"),
                (INVENTORY, "/api/inventory"),
                (PRODUCT, "/api/products"),
                (AI, "/api/ai/chat"),
            )
        ],
    ),
    Case("K4", "a text in which nothing is visible", list(without_visible_text())),
    Case(
        "H8",
        "a quantity of 2.0",
        [
            stock(10),
            Request(
                "POST",
                "/api/orders",
                201,
                order_of("p-{unique}", 2.0),
                at=ORDER,
                answer={"items": [{"quantity": 2}]},
            ),
            Request(
                "PATCH",
                "/api/inventory/p-{unique}/reduce",
                body={"quantity": 3.0},
                at=INVENTORY,
                answer={"quantity": 5},
            ),
            Request("POST", "/api/orders", 422, order_of("p-{unique}", 2.5), at=ORDER),
        ],
    ),
    Case(
        "H9",
        "an e-mail address with a slash",
        [
            stock(10),
            Request(
                "POST",
                "/api/orders",
                201,
                order_of("p-{unique}", 1, customer_email="sales/{unique}@example.com"),
                at=ORDER,
                keep={"order": "id"},
            ),
            Request(
                "GET",
                "/api/orders/user/sales%2F{unique}@example.com",
                at=ORDER,
                answer=[{"id": "{order}"}],
            ),
            Request(
                "GET",
                "/api/orders/user/sales%2F{unique}@example.com",
                user="admin",
                answer=[{"id": "{order}"}],
            ),
        ],
    ),
    Case(
        "H10",
        "an e-mail address at an internationalised domain",
        [
            stock(10),
            Request(
                "POST",
                "/api/orders",
                201,
                order_of("p-{unique}", 1, customer_email="a{unique}@bücher.example"),
                at=ORDER,
                keep={"order": "id"},
            ),
            Request(
                "GET",
                "/api/orders/user/a{unique}@xn--bcher-kva.example",
                at=ORDER,
                answer=Contains({"id": "{order}"}),
            ),
            Request(
                "GET",
                "/api/orders/user/A{unique}@B%C3%9CCHER.example",
                at=ORDER,
                answer=Contains({"id": "{order}"}),
            ),
        ],
    ),
]
