"""OpenAPI documents of services for tests."""

import json
from typing import Any

from app.policy import Access, Operation

PRODUCTS, ORDERS = "product-service", "order-service"

LIST = Operation("GET", "/api/products", Access.PUBLIC, PRODUCTS)
CREATE = Operation("POST", "/api/products", Access.ADMIN, PRODUCTS)
PLACE = Operation("POST", "/api/orders", Access.CUSTOMER, ORDERS)
TABLE = (LIST, CREATE, PLACE)


def reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def an_operation(schema: Any = True, **more: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {
        "summary": "Do it",
        "responses": {"200": {"description": "Done", "content": content}},
        **more,
    }


def a_document(
    operations: dict[tuple[str, str], dict[str, Any]],
    schemas: dict[str, Any] | None = None,
    about: str = "",
) -> bytes:
    """Return a service's OpenAPI document as bytes."""
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in operations.items():
        paths.setdefault(path, {})[method.lower()] = operation
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "A service", "version": "1", "description": about},
            "paths": paths,
            "components": {"schemas": schemas or {}},
        }
    ).encode()
