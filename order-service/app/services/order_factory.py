"""Build an unsaved order from a request."""

import secrets
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

from app.models.order import Order, OrderItem
from app.schemas.order import OrderIn

_ALPHABET = string.ascii_uppercase + string.digits


def new_order(request: OrderIn, names: Mapping[str, str]) -> Order:
    """Return a new order with ids and a number of its own.

    A field of the request is a field of the order with the same name.

    Args:
        names: the catalogue's names by product id; other products keep the request's.
    """
    items = [
        OrderItem(
            id=uuid4(),
            product_id=item.product_id,
            product_name=names.get(item.product_id, item.product_name),
            quantity=item.quantity,
            unit_price=item.unit_price,
            total_price=item.total_price,
        )
        for item in request.items
    ]
    return Order(
        id=uuid4(),
        order_number=f"ORD-{datetime.now(UTC):%Y%m%d}-{_draw()}",
        total_amount=request.total_amount,
        items=items,
        **request.model_dump(exclude={"items"}),
    )


def _draw() -> str:
    """Return eight random characters. The database refuses a number that is taken."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))
