"""Calls of clients that were written for the platform's first version, and what they check.

Paths, field names, types, status codes and the words of messages are exact for them. Each service
answers these calls at its own port, and the gateway answers them for an admin.
"""

import re
from typing import Any

from tests.inputs.bodies import ITEM, ORDER_BODY
from tests.inputs.matching import Contains, Each
from tests.inputs.steps import INVENTORY, ORDER, PRODUCT, Case, Request

NUMBER = int | float
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
NEVER_CREATED = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
INVALID = {"status": 422, "detail": Each({"loc": list, "msg": str, "type": str})}

# --- product-service ---

PRODUCTS, ONE_PRODUCT = "/api/products", "/api/products/{product}"
LAMP = {
    "name": "Lamp {unique}",
    "description": "A warm light.",
    "price": 49.99,
    "category": "Lamps {unique}",
    "tags": ["lamp", "desk"],
    "stock_quantity": 50,
}
A_PRODUCT = {
    "id": re.compile(r"^[0-9a-f]{24}$"),
    "name": str,
    "description": str,
    "price": NUMBER,
    "category": str,
    "tags": list,
    "stock_quantity": int,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
A_PAGE = {"products": list, "total": int, "page": 1, "page_size": 10}
LAMP_CREATED = Request("POST", PRODUCTS, 201, LAMP, keep={"product": "id"})


def product_call(method: str, path: str, status: int, body: Any = None, answer: Any = None) -> Case:
    """Return the case of one call, after a product was created."""
    title = f"{method} {path} answers {status}"
    return Case(title, title, [LAMP_CREATED, Request(method, path, status, body, answer=answer)])


PRODUCT_CASES = [
    product_call("POST", PRODUCTS, 201, LAMP, A_PRODUCT | LAMP),
    product_call("POST", PRODUCTS, 422, {**LAMP, "price": -5}, INVALID),
    product_call("POST", PRODUCTS, 422, {**LAMP, "price": 0}, INVALID),
    product_call("POST", PRODUCTS, 422, {**LAMP, "stock_quantity": -1}, INVALID),
    product_call("POST", PRODUCTS, 422, {"name": "Only a name"}, INVALID),
    product_call("GET", PRODUCTS, 200, answer=A_PAGE),
    product_call(
        "GET", "/api/products?page=1&page_size=5", 200, answer={"page": 1, "page_size": 5}
    ),
    product_call(
        "GET",
        "/api/products?category=Lamps%20{unique}",
        200,
        answer=A_PAGE | {"products": [LAMP], "total": 1},
    ),
    product_call(
        "GET",
        "/api/products?category=Lamps%20{unique}&min_price=40&max_price=49.99",
        200,
        answer={"products": [{"id": "{product}", "price": 49.99}]},
    ),
    product_call("GET", "/api/products?page=0", 422, answer=INVALID),
    product_call("GET", "/api/products?page_size=101", 422, answer=INVALID),
    product_call("GET", "/api/products/search?q=lamp%20{unique}", 200, answer=Contains(LAMP)),
    product_call("GET", "/api/products/search?q=qqqxyzzy", 200, answer=[]),
    product_call("GET", "/api/products/search", 422, answer=INVALID),
    product_call("GET", ONE_PRODUCT, 200, answer={"id": "{product}"} | LAMP),
    product_call("GET", "/api/products/665f1c2e9b1d4c3a2f8e7d60", 404, answer={"detail": str}),
    product_call("GET", "/api/products/not-an-id", 400, answer={"detail": str}),
    product_call(
        "PUT",
        ONE_PRODUCT,
        200,
        {"price": 39.99, "stock_quantity": 45},
        {"id": "{product}", "price": 39.99, "stock_quantity": 45, "name": "Lamp {unique}"},
    ),
    product_call("PUT", "/api/products/665f1c2e9b1d4c3a2f8e7d60", 404, {"price": 1}),
    product_call("DELETE", ONE_PRODUCT, 200, answer={"message": Contains("deleted successfully")}),
    product_call("DELETE", "/api/products/665f1c2e9b1d4c3a2f8e7d60", 404, answer={"detail": str}),
    Case(
        "a deleted product answers 404",
        "a deleted product",
        [LAMP_CREATED, Request("DELETE", ONE_PRODUCT), Request("GET", ONE_PRODUCT, 404)],
    ),
]

# --- inventory-service ---

STOCK, ONE_STOCK = "/api/inventory", "/api/inventory/{stock}"
PIECES = {"product_id": "prod-{unique}", "product_name": "Lamp {unique}", "quantity": 100}
AN_ITEM = {
    "id": UUID,
    "product_id": str,
    "product_name": str,
    "quantity": int,
    "reserved_qty": int,
    "available_qty": int,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
STOCKED = Request("POST", STOCK, 201, PIECES, keep={"stock": "product_id"})


def stock_call(method: str, path: str, status: int, body: Any = None, answer: Any = None) -> Case:
    """Return the case of one call, after 100 pieces of a product were added."""
    title = f"{method} {path} answers {status}"
    return Case(title, title, [STOCKED, Request(method, path, status, body, answer=answer)])


def has(quantity: int, reserved: int = 0) -> dict[str, int]:
    """Return the numbers of a stock item."""
    available = quantity - reserved
    return {"quantity": quantity, "reserved_qty": reserved, "available_qty": available}


def checked(requested: int, in_stock: bool) -> dict[str, Any]:
    """Return the answer of a check of 100 pieces."""
    return {
        "product_id": "{stock}",
        "requested": requested,
        "in_stock": in_stock,
        "available_qty": 100,
    }


TOO_LITTLE = {"status": 400, "detail": re.compile("^Insufficient stock")}
NEW_PIECES = {**PIECES, "product_id": "new-{unique}"}

INVENTORY_CASES = [
    stock_call("POST", STOCK, 201, NEW_PIECES, AN_ITEM | NEW_PIECES | has(100)),
    stock_call("POST", STOCK, 409, PIECES, {"detail": Contains("already exists")}),
    stock_call("POST", STOCK, 422, {**NEW_PIECES, "quantity": -1}, INVALID),
    stock_call("POST", STOCK, 422, {"product_id": "only-an-id"}, INVALID),
    stock_call("GET", STOCK, 200, answer=Each(AN_ITEM)),
    stock_call("GET", ONE_STOCK, 200, answer=AN_ITEM | PIECES | has(100)),
    stock_call("GET", "/api/inventory/never-{unique}", 404, answer={"detail": str}),
    stock_call("GET", ONE_STOCK + "/check?quantity=50", 200, answer=checked(50, True)),
    stock_call("GET", ONE_STOCK + "/check?quantity=101", 200, answer=checked(101, False)),
    stock_call("GET", ONE_STOCK + "/check?quantity=0", 422, answer=INVALID),
    stock_call("GET", "/api/inventory/never-{unique}/check?quantity=1", 404),
    stock_call("PATCH", ONE_STOCK + "/reduce", 200, {"quantity": 10}, AN_ITEM | has(90)),
    stock_call("PATCH", ONE_STOCK + "/reduce", 400, {"quantity": 9_999}, TOO_LITTLE),
    stock_call("PATCH", ONE_STOCK + "/reduce", 422, {"quantity": 0}, INVALID),
    stock_call("PATCH", "/api/inventory/never-{unique}/reduce", 404, {"quantity": 1}),
    stock_call("PATCH", ONE_STOCK + "/restock", 200, {"quantity": 50}, AN_ITEM | has(150)),
    stock_call("PATCH", ONE_STOCK + "/restock", 422, {"quantity": -1}, INVALID),
    stock_call(
        "PUT",
        ONE_STOCK,
        200,
        {"quantity": 80, "reserved_qty": 5, "product_name": "New {unique}"},
        AN_ITEM | has(80, 5) | {"product_name": "New {unique}"},
    ),
    stock_call("PUT", "/api/inventory/never-{unique}", 404, {"quantity": 1}),
    stock_call("DELETE", ONE_STOCK, 200, answer={"message": Contains("deleted successfully")}),
    stock_call("DELETE", "/api/inventory/never-{unique}", 404, answer={"detail": str}),
    Case(
        "a deleted stock item answers 404",
        "a deleted stock item",
        [STOCKED, Request("DELETE", ONE_STOCK), Request("GET", ONE_STOCK, 404)],
    ),
]

# --- order-service ---

ORDERS, ONE_ORDER = "/api/orders", "/api/orders/{order}"
TWO_LAMPS = {**ITEM, "product_id": "{stock}", "quantity": 2, "unit_price": 49.99}
WANTED = {**ORDER_BODY, "customer_email": "{unique}@example.com", "items": [TWO_LAMPS]}
AN_ORDER_ITEM = {
    "id": UUID,
    "product_id": str,
    "product_name": str,
    "quantity": int,
    "unit_price": NUMBER,
    "total_price": NUMBER,
}
AN_ORDER = {
    "id": UUID,
    "order_number": re.compile(r"^ORD-\d{8}-[A-Z0-9]{8}$"),
    "customer_name": str,
    "customer_email": str,
    "total_amount": NUMBER,
    "status": re.compile("^(PENDING|CONFIRMED|SHIPPED|DELIVERED|CANCELLED)$"),
    "items": Each(AN_ORDER_ITEM),
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
SOLD = {
    "customer_name": "A",
    "customer_email": "{unique}@example.com",
    "total_amount": 99.98,
    "status": "CONFIRMED",
    "items": [{"product_id": "{stock}", "quantity": 2, "unit_price": 49.99, "total_price": 99.98}],
}
IN_STOCK = Request("POST", STOCK, 201, PIECES, at=INVENTORY, keep={"stock": "product_id"})
PLACED = Request("POST", ORDERS, 201, WANTED, keep={"order": "id"})


def moved(status: str, expected: int = 200, answer: Any = None) -> Request:
    """Return the request that changes the order's status."""
    path, body = ONE_ORDER + "/status", {"status": status}
    return Request("PATCH", path, expected, body, answer=answer or {"status": status})


def order_case(title: str, *steps: Request) -> Case:
    """Return a case that begins with an order of two of 100 pieces."""
    return Case(title, title, [IN_STOCK, PLACED, *steps])


CANCELLED = {"id": "{order}", "status": "CANCELLED"}
CANNOT_CANCEL = {"status": 400, "detail": re.compile("^Cannot cancel")}
REFUSED = {"status": 400, "detail": str}
CANCEL = Request("PATCH", ONE_ORDER + "/cancel", answer=CANCELLED)

ORDER_CASES = [
    order_case("POST answers 201", Request("POST", ORDERS, 201, WANTED, answer=(AN_ORDER, SOLD))),
    order_case(
        "POST takes the stock",
        Request("GET", ONE_STOCK, at=INVENTORY, answer=has(98)),
    ),
    order_case(
        "POST of too much answers 400",
        Request(
            "POST",
            ORDERS,
            400,
            {**WANTED, "items": [{**TWO_LAMPS, "quantity": 999}]},
            answer=TOO_LITTLE,
        ),
    ),
    order_case(
        "POST of an unknown product answers 404",
        Request("POST", ORDERS, 404, {**WANTED, "items": [{**TWO_LAMPS, "product_id": "never"}]}),
    ),
    order_case(
        "POST without items answers 422",
        Request("POST", ORDERS, 422, {**WANTED, "items": []}, answer=INVALID),
    ),
    order_case(
        "POST with a malformed address answers 422",
        Request("POST", ORDERS, 422, {**WANTED, "customer_email": "nobody"}, answer=INVALID),
    ),
    order_case(
        "POST of no pieces answers 422",
        Request(
            "POST", ORDERS, 422, {**WANTED, "items": [{**TWO_LAMPS, "quantity": 0}]}, answer=INVALID
        ),
    ),
    order_case("GET lists orders", Request("GET", ORDERS, answer=(Each(AN_ORDER), Contains(SOLD)))),
    order_case(
        "GET of one answers 200",
        Request("GET", ONE_ORDER, answer=(AN_ORDER, SOLD, {"id": "{order}"})),
    ),
    order_case("GET of a malformed id answers 400", Request("GET", "/api/orders/not-an-id", 400)),
    order_case(
        "GET of an unknown id answers 404",
        Request("GET", f"/api/orders/{NEVER_CREATED}", 404, answer={"detail": str}),
    ),
    order_case(
        "GET by address lists the customer's orders",
        Request("GET", "/api/orders/user/{unique}@example.com", answer=[SOLD]),
    ),
    order_case(
        "GET by address of no customer lists nothing",
        Request("GET", "/api/orders/user/nobody-{unique}@example.com", answer=[]),
    ),
    order_case("PATCH ships and delivers", moved("SHIPPED"), moved("DELIVERED")),
    order_case("PATCH to a status out of turn answers 400", moved("DELIVERED", 400, REFUSED)),
    order_case("PATCH to an unknown status answers 422", moved("LOST", 422, INVALID)),
    order_case(
        "PATCH of an unknown order answers 404",
        Request("PATCH", f"/api/orders/{NEVER_CREATED}/status", 404, {"status": "SHIPPED"}),
    ),
    order_case(
        "cancel returns the stock", CANCEL, Request("GET", ONE_STOCK, at=INVENTORY, answer=has(100))
    ),
    order_case("cancel twice is the same as once", CANCEL, CANCEL),
    order_case(
        "cancel of a shipped order answers 400",
        moved("SHIPPED"),
        Request("PATCH", ONE_ORDER + "/cancel", 400, answer=CANNOT_CANCEL),
    ),
    order_case(
        "cancel of a delivered order answers 400",
        moved("SHIPPED"),
        moved("DELIVERED"),
        Request("PATCH", ONE_ORDER + "/cancel", 400, answer=CANNOT_CANCEL),
    ),
    order_case(
        "cancel of an unknown order answers 404",
        Request("PATCH", f"/api/orders/{NEVER_CREATED}/cancel", 404),
    ),
]

CASES = {PRODUCT: PRODUCT_CASES, INVENTORY: INVENTORY_CASES, ORDER: ORDER_CASES}
