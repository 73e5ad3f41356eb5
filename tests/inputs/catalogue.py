"""Reported inputs: filters and search of the catalogue, lost updates, identity of products."""

from typing import Any

from tests.inputs.bodies import PRODUCT_BODY, order_of
from tests.inputs.matching import Contains, Excludes
from tests.inputs.steps import INVENTORY, ORDER, PRODUCT, Case, Request


def product(**about: Any) -> Request:
    """Return the request that creates a product and stores its id as `product`."""
    return Request(
        "POST", "/api/products", 201, PRODUCT_BODY | about, at=PRODUCT, keep={"product": "id"}
    )


def prices(query: str, *found: float) -> Request:
    """Return the request for a page of the category's products, which have these prices."""
    path = f"/api/products?category=c-{{unique}}&sort=price&{query}"
    answer = {"products": [{"price": price} for price in found], "total": len(found)}
    return Request("GET", path, at=PRODUCT, answer=answer)


def search(text: str, answer: Any) -> Request:
    """Return the request for a search."""
    return Request("GET", f"/api/products/search?q={text}", at=PRODUCT, answer=answer)


STALE = {"If-Match": '"no-such"'}
CURRENT = {"If-Match": "{etag}"}
ONE_PRODUCT, ONE_STOCK = "/api/products/{product}", "/api/inventory/{product}"
KEEP_ETAG = {"etag": ":etag"}

ROWS = [
    Case(
        "K1",
        "an upper bound of the price together with a category",
        [
            *(product(price=price, category="c-{unique}") for price in (10, 20, 30)),
            prices("max_price=20", 10, 20),
            prices("min_price=10&max_price=20", 10, 20),
            prices("min_price=20&max_price=20", 20),
            prices("min_price=20", 20, 30),
            prices("max_price=30", 10, 20, 30),
        ],
    ),
    Case(
        "K2",
        "a search without the strokes and accents of a name",
        [
            product(name="Smørrebrød{unique} Kniv"),
            product(name="Łódź{unique}"),
            product(name="Straße{unique}"),
            search("smorrebrod{unique}", [{"name": "Smørrebrød{unique} Kniv"}]),
            search("SMØRREBRØD{unique}", [{"name": "Smørrebrød{unique} Kniv"}]),
            search("lodz{unique}", [{"name": "Łódź{unique}"}]),
            search("strasse{unique}", [{"name": "Straße{unique}"}]),
        ],
    ),
    Case(
        "K3",
        "a search for kana whose voicing marks tell two words apart",
        [
            product(name="ハス茶 {unique}"),
            product(name="バス時刻表 {unique}"),
            search(
                "バス",
                (Contains({"name": "バス時刻表 {unique}"}), Excludes({"name": "ハス茶 {unique}"})),
            ),
            Request("DELETE", ONE_PRODUCT, at=PRODUCT),  # a later run finds its own
        ],
    ),
    Case(
        "H4",
        "an update with an If-Match that does not match",
        [
            product(name="Thing {unique}"),
            Request("GET", ONE_PRODUCT, at=PRODUCT, keep=KEEP_ETAG),
            Request("PUT", ONE_PRODUCT, 412, {"price": 2}, STALE, at=PRODUCT),
            Request("PUT", ONE_PRODUCT, 200, {"price": 3}, CURRENT, at=PRODUCT),
            Request("PUT", ONE_PRODUCT, 412, {"price": 4}, CURRENT, user="admin"),
            Request("GET", ONE_PRODUCT, at=PRODUCT, answer={"price": 3}),
            Request(
                "POST",
                "/api/inventory",
                201,
                {"product_id": "{product}", "product_name": "Thing {unique}", "quantity": 5},
                at=INVENTORY,
            ),
            Request("GET", ONE_STOCK, at=INVENTORY, keep=KEEP_ETAG),
            Request("PUT", ONE_STOCK, 412, {"quantity": 6}, STALE, at=INVENTORY),
            Request("PUT", ONE_STOCK, 200, {"quantity": 7}, CURRENT, at=INVENTORY),
            Request("PUT", ONE_STOCK, 412, {"quantity": 8}, CURRENT, user="admin"),
            Request("GET", ONE_STOCK, at=INVENTORY, answer={"quantity": 7}),
            Request("DELETE", ONE_STOCK, 412, headers=CURRENT, at=INVENTORY),
            Request("DELETE", ONE_PRODUCT, 412, headers=CURRENT, at=PRODUCT),
        ],
    ),
    Case(
        "H5",
        "a stock level written back that an order had changed",
        [
            Request(
                "POST",
                "/api/inventory",
                201,
                {"product_id": "p-{unique}", "product_name": "A thing", "quantity": 10},
                at=INVENTORY,
                keep={"product": "product_id"},
            ),
            Request("GET", ONE_STOCK, user="admin", keep=KEEP_ETAG, answer={"quantity": 10}),
            Request("POST", "/api/orders", 201, order_of("{product}", 3), at=ORDER),
            Request("PUT", ONE_STOCK, 412, {"quantity": 10}, CURRENT, user="admin"),
            Request("POST", "/api/orders", 400, order_of("{product}", 8), at=ORDER),
            Request("GET", ONE_STOCK, at=INVENTORY, answer={"quantity": 7}),
        ],
    ),
    Case(
        "O6",
        "a deletion and its message",
        [
            product(name="Thing {unique}"),
            Request(
                "POST",
                "/api/inventory",
                201,
                {"product_id": "{product}", "product_name": "Thing {unique}", "quantity": 5},
                at=INVENTORY,
            ),
            Request(
                "DELETE",
                ONE_STOCK,
                at=INVENTORY,
                answer={"message": Contains("deleted successfully")},
            ),
            Request(
                "DELETE",
                ONE_PRODUCT,
                at=PRODUCT,
                answer={"message": Contains("deleted successfully")},
            ),
        ],
    ),
]
