"""The role table: which operations exist at the gateway and who may call them.

Anything else is 404 (deny by default). `api_document.py` documents the table, `forwarding.py`
enforces it, and tests/e2e/test_access.py compares it with the services' OpenAPI documents.
order-service decides whose order a caller may see, by the same token.
"""

from dataclasses import dataclass
from enum import StrEnum

from chassis.security.token_verifier import Identity


class Access(StrEnum):
    """The callers of an operation; the value is the text for error details and documents."""

    PUBLIC = "anyone"
    SIGNED_IN = "anyone with a valid token"
    CUSTOMER = "the role customer, for their own orders, or the role admin"
    ADMIN = "the role admin"

    def allows(self, identity: Identity) -> bool:
        """Return whether the bearer of a verified token may call the operation."""
        if self is Access.CUSTOMER:
            return not identity.roles.isdisjoint(("customer", "admin"))
        return self is not Access.ADMIN or "admin" in identity.roles


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that the gateway forwards.

    Attributes:
        path: the template in the upstream's OpenAPI document.
        upstream: the service that handles it.
        max_body_bytes: the service's limit, `x-max-body-bytes` in its OpenAPI document.
    """

    method: str
    path: str
    access: Access
    upstream: str
    max_body_bytes: int = 16_384


_Row = tuple[str, str, Access] | tuple[str, str, Access, int]


def _operations(upstream: str, *rows: _Row) -> tuple[Operation, ...]:
    return tuple(
        Operation(method, path, access, upstream, *limit) for method, path, access, *limit in rows
    )


TABLE: tuple[Operation, ...] = (
    *_operations(
        "product-service",
        ("GET", "/api/products", Access.PUBLIC),
        ("GET", "/api/products/search", Access.PUBLIC),
        ("GET", "/api/products/suggest", Access.PUBLIC),
        ("GET", "/api/products/facets", Access.PUBLIC),
        ("GET", "/api/products/changes", Access.PUBLIC),
        ("GET", "/api/products/images/{slug}.svg", Access.PUBLIC),
        ("POST", "/api/products/import", Access.ADMIN, 8_388_608),
        ("GET", "/api/products/export", Access.ADMIN),
        ("GET", "/api/products/{product_id}", Access.PUBLIC),
        ("POST", "/api/products", Access.ADMIN, 131_072),
        ("POST", "/api/products/prices", Access.ADMIN, 131_072),  # between services
        ("PUT", "/api/products/{product_id}", Access.ADMIN, 131_072),
        ("DELETE", "/api/products/{product_id}", Access.ADMIN),
    ),
    *_operations(
        "order-service",
        ("POST", "/api/orders", Access.CUSTOMER, 262_144),
        ("GET", "/api/orders", Access.ADMIN),
        ("GET", "/api/orders/me", Access.CUSTOMER),
        ("GET", "/api/orders/user/{email}", Access.CUSTOMER),
        ("GET", "/api/orders/{order_id}", Access.CUSTOMER),
        ("PATCH", "/api/orders/{order_id}/status", Access.ADMIN),
        ("PATCH", "/api/orders/{order_id}/cancel", Access.CUSTOMER),
    ),
    *_operations(
        "inventory-service",
        ("GET", "/api/inventory/{product_id}/check", Access.PUBLIC),
        ("GET", "/api/inventory", Access.ADMIN),
        ("POST", "/api/inventory", Access.ADMIN),
        ("GET", "/api/inventory/{product_id}", Access.ADMIN),
        ("PUT", "/api/inventory/{product_id}", Access.ADMIN),
        ("DELETE", "/api/inventory/{product_id}", Access.ADMIN),
        ("PATCH", "/api/inventory/reduce", Access.ADMIN, 131_072),
        ("PATCH", "/api/inventory/{product_id}/reduce", Access.ADMIN),
        ("PATCH", "/api/inventory/{product_id}/restock", Access.ADMIN),
        ("POST", "/api/inventory/movements/{key}/reverse", Access.ADMIN),
    ),
    *_operations(
        "ai-service",
        ("POST", "/api/ai/chat", Access.SIGNED_IN, 524_288),
        ("GET", "/api/ai/recommendations", Access.SIGNED_IN),
        ("POST", "/api/ai/suggest", Access.SIGNED_IN),
    ),
)
