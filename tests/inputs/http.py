"""Reported inputs: HTTP as browsers, proxies and other languages' clients speak it."""

import gzip
import json
import re

from tests.fleet_under_test import GATEWAY, SERVICES, STOREFRONT
from tests.inputs.bodies import ORDER_BODY, PRODUCT_BODY, order_of, stock
from tests.inputs.matching import Contains
from tests.inputs.steps import (
    AI,
    INVENTORY,
    NOTIFICATION,
    ORDER,
    PROBLEM,
    PRODUCT,
    Case,
    OnTheWire,
    Request,
)

UPGRADE = {
    "Connection": "Upgrade, HTTP2-Settings",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
}
SPELLS_A_GET = b"GET /health HTTP/1.1\r\nHost: abcdef\r\n\r\n"
GZIPPED = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
QUESTION = {"query": "a gift under 50"}
NOT_EMPTY = {"content-length": re.compile(r"^[1-9]")}
PREFLIGHT_HEADERS = ("traceparent", "baggage", "if-match", "if-none-match", "last-event-id")


def head_that_offers_an_upgrade(path: bytes) -> bytes:
    """Return the head of a POST whose body the next packet brings."""
    offer = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items()).encode()
    return (
        (
            b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(SPELLS_A_GET)
        )
        + offer
        + b"\r\n"
    )


ROWS = [
    Case(
        "H1",
        "a POST that offers to upgrade to HTTP/2",
        [
            stock(10),
            Request("POST", "/api/orders", 201, order_of("p-{unique}", 1), UPGRADE, user="alice"),
            Request("POST", "/api/orders", 201, order_of("p-{unique}", 1), UPGRADE, ORDER),
            Request("POST", "/api/products", 201, PRODUCT_BODY, UPGRADE, PRODUCT),
            Request(
                "POST",
                "/api/inventory",
                201,
                {"product_id": "h1-{unique}", "product_name": "A thing", "quantity": 1},
                UPGRADE,
                INVENTORY,
            ),
            Request("POST", "/api/ai/suggest", 200, QUESTION, UPGRADE, AI),
        ],
    ),
    Case(
        "H2",
        "an offer to upgrade, and a body that spells a request",
        [
            OnTheWire(
                [head_that_offers_an_upgrade(path), SPELLS_A_GET],
                (400, 415, 422, 426),
                at=service,
                user="alice",
            )
            for service, path in (
                (GATEWAY, b"/api/orders"),
                (ORDER, b"/api/orders"),
                (PRODUCT, b"/api/products"),
                (INVENTORY, b"/api/inventory"),
                (AI, b"/api/ai/suggest"),
            )
        ],
    ),
    Case(
        "H3",
        "HEAD",
        [
            *(Request("HEAD", "/health", at=service) for service in SERVICES),
            *(Request("HEAD", "/health/ready", at=service) for service in SERVICES),
            *(
                Request("HEAD", path, at=service, answer_headers=NOT_EMPTY)
                for service, path in (
                    (GATEWAY, "/api/products"),
                    (PRODUCT, "/api/products"),
                    (PRODUCT, "/api/products/search?q=lamp"),
                    (INVENTORY, "/api/inventory"),
                    (ORDER, "/api/orders"),
                    (NOTIFICATION, "/docs"),
                )
            ),
            Request("POST", "/api/products", 201, PRODUCT_BODY, at=PRODUCT, keep={"id": "id"}),
            Request("HEAD", "/api/products/{id}"),
            Request("HEAD", "/api/products/{id}", at=PRODUCT),
            Request("HEAD", "/api/products/665f1c2e9b1d4c3a2f8e7d60", 404),
        ],
    ),
    Case(
        "H6",
        "a body in gzip",
        [
            Request(
                "POST",
                path,
                415,
                gzip.compress(json.dumps(body).encode()),
                GZIPPED,
                service,
                user,
                answer_headers=PROBLEM | {"accept-encoding": "identity"},
            )
            for service, user, path, body in (
                (GATEWAY, "alice", "/api/orders", ORDER_BODY),
                (ORDER, "", "/api/orders", ORDER_BODY),
                (PRODUCT, "", "/api/products", PRODUCT_BODY),
                (INVENTORY, "", "/api/inventory", {}),
                (AI, "", "/api/ai/suggest", QUESTION),
            )
        ],
    ),
    Case(
        "H7",
        "a preflight for the headers of tracing, conditions and event streams",
        [
            Request(
                "OPTIONS",
                "/api/products",
                (200, 204),
                headers={
                    "Origin": STOREFRONT,
                    "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": name,
                },
                answer_headers={
                    "access-control-allow-origin": STOREFRONT,
                    "access-control-allow-headers": re.compile(name, re.IGNORECASE),
                },
            )
            for name in PREFLIGHT_HEADERS
        ],
    ),
    Case(
        "T3",
        "an access token that is larger than any may be",
        [
            Request(
                "GET",
                "/api/orders/me",
                (401, 431),
                headers={"Authorization": "Bearer " + "a" * size},
                at=service,
                answer_headers=PROBLEM,
                answer={"detail": Contains("large")},
            )
            for service, size in ((GATEWAY, 40_000), (ORDER, 33_000))
        ],
    ),
    Case(
        "N8",
        "a browser at the gateway's first page",
        [
            Request(
                "GET",
                "/",
                headers={"Accept": "text/html"},
                answer_headers={"content-type": re.compile(r"^text/html")},
            )
        ],
    ),
]
