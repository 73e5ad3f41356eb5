"""Reported inputs: fields of an order, and the replay of a repeated request."""

import re

from tests.inputs.bodies import ITEM, ORDER_BODY, order_of, stock
from tests.inputs.catalogue import product
from tests.inputs.matching import ABSENT
from tests.inputs.steps import INVENTORY, ORDER, Case, Request

KEY = {"Idempotency-Key": "key-{unique}"}
REPLAYED = {"idempotent-replayed": "true"}
FIRST = {"idempotent-replayed": ABSENT}
RESTOCK = "/api/inventory/p-{unique}/restock"

ROWS = [
    Case(
        "O5",
        "the number of an order",
        [
            stock(10),
            Request(
                "POST",
                "/api/orders",
                201,
                order_of("p-{unique}", 1),
                at=ORDER,
                answer={"order_number": re.compile(r"^ORD-\d{8}-[A-Z0-9]{8}$")},
            ),
        ],
    ),
    Case(
        "N6",
        "a request sent again with its key",
        [
            stock(10),
            Request(
                "POST",
                "/api/orders",
                201,
                order_of("p-{unique}", 1),
                KEY,
                user="alice",
                answer_headers=FIRST,
                keep={"order": "id"},
            ),
            Request("PATCH", "/api/orders/{order}/cancel", user="alice"),
            Request(
                "POST",
                "/api/orders",
                201,
                order_of("p-{unique}", 1),
                KEY,
                user="alice",
                answer={"id": "{order}"},
                answer_headers=REPLAYED,
            ),
            Request("PATCH", RESTOCK, 200, {"quantity": 1}, KEY, INVENTORY, answer_headers=FIRST),
            Request(
                "PATCH", RESTOCK, 200, {"quantity": 1}, KEY, INVENTORY, answer_headers=REPLAYED
            ),
        ],
    ),
    Case(
        "N10",
        "an item whose name is not the catalogue's",
        [
            product(name="Glass Harmonica {unique}", price=79.9),
            stock(10, "{product}"),
            Request(
                "POST",
                "/api/orders",
                201,
                {
                    **ORDER_BODY,
                    "items": [
                        {
                            **ITEM,
                            "product_id": "{product}",
                            "product_name": "Harmonica",
                            "unit_price": 79.9,
                        }
                    ],
                },
                user="alice",
                answer={"items": [{"product_name": "Glass Harmonica {unique}"}]},
                keep={"order": "id"},
            ),
            Request(
                "GET",
                "/api/orders/{order}",
                user="alice",
                answer={"items": [{"product_name": "Glass Harmonica {unique}"}]},
            ),
        ],
    ),
    Case(
        "N11",
        "a catalogued product's id with a space, at a price of its own",
        [
            product(name="Thing {unique}", price=79.9),
            Request(
                "POST",
                "/api/inventory",
                (201, 400, 422),
                {"product_id": "{product} ", "product_name": "Thing", "quantity": 5},
                at=INVENTORY,
            ),
            Request(
                "POST", "/api/orders", (404, 409, 422), order_of("{product} ", 1), user="alice"
            ),
        ],
    ),
]
