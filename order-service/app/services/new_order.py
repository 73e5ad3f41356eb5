"""A request becomes an order that nobody has heard of yet."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from app.models.order import NewOrder, OrderItem
from app.schemas.order import OrderIn


def new_order(request: OrderIn) -> NewOrder:
    order_id = uuid4()
    items = (
        OrderItem(
            id=uuid4(),
            product_id=item.product_id,
            product_name=item.product_name,
            quantity=item.quantity,
            unit_price=item.unit_price,
            total_price=item.total_price,
        )
        for item in request.items
    )
    return NewOrder(
        id=order_id,
        order_number=_order_number(order_id),
        customer_name=request.customer_name,
        customer_email=request.customer_email,
        total_amount=request.total_amount,
        items=tuple(items),
    )


def _order_number(order_id: UUID) -> str:
    """What people read to each other: the day, and enough of the id to be the only one."""
    return f"ORD-{datetime.now(UTC):%Y%m%d}-{order_id.hex[:10].upper()}"
