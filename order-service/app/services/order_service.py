"""Following, cancelling and moving orders on."""

import logging
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.authorization import Caller
from app.clients.inventory_client import InventoryClient
from app.config import Settings
from app.errors import CannotCancel, InvalidTransition, InventoryUnavailable, OrderNotFound
from app.events import ORDER_CANCELLED, order_cancelled
from app.models.order import CancelledBy, Order, OrderStatus
from app.repositories.order_repository import OrderRepository, Place
from app.schemas.order import OrderOut
from chassis.failpoints import reach
from chassis.http_client.deadline import Deadline
from chassis.postgres.database import Database
from chassis.postgres.errors import DatabaseUnavailable
from chassis.postgres.outbox import add_event

log = logging.getLogger(__name__)


def not_found(order_id: UUID) -> OrderNotFound:
    return OrderNotFound(f"There is no order {order_id}.")


async def get_order(connection: AsyncConnection, order_id: UUID, caller: Caller) -> Order:
    order = await OrderRepository(connection).get(order_id)
    if order is None:
        raise not_found(order_id)
    caller.require_own(order.customer_email)
    return order


async def orders_page(
    connection: AsyncConnection,
    limit: int,
    after: Place | None,
    status: OrderStatus | None,
    email: str | None,
) -> tuple[list[Order], bool]:
    """Up to `limit` orders, newest first, and whether there are more."""
    found = await OrderRepository(connection).page(
        limit=limit + 1, after=after, status=status, email=email
    )
    return found[:limit], len(found) > limit


async def advance_order(
    connection: AsyncConnection, order_id: UUID, status: OrderStatus, caller: Caller
) -> Order:
    """Ship or deliver. Guarded by the status before: of two racing steps one gets 400.

    Raises:
        InvalidTransition: the state machine has no such step, or another one was faster.
    """
    caller.require_admin()
    orders = OrderRepository(connection)
    before = status.before
    moved = before is not None and await orders.advance(order_id, before, status)
    order = await get_order(connection, order_id, caller)
    if not moved:
        raise InvalidTransition(f"An order that is {order.status} cannot become {status}.")
    return order


class OrderCancelling:
    """Cancelling an order, and giving its stock back."""

    def __init__(self, database: Database, inventory: InventoryClient, settings: Settings) -> None:
        self._database = database
        self._inventory = inventory
        self._settings = settings

    async def cancel(self, order_id: UUID, reason: str | None, caller: Caller) -> OrderOut:
        """Cancel an order that is PENDING or CONFIRMED; one already CANCELLED stays as it is.

        The stock goes back at once, or, when inventory is away, within 30 s of its return: the
        debt is written in the cancelling transaction and paid by the recovery loop.
        """
        deadline = Deadline.after(self._settings.place_deadline)
        order, cancelled_now = await self._commit(order_id, reason, caller)
        if cancelled_now:
            reach("cancelling.committed")
            await self._pay_debt(order_id, deadline)
        return OrderOut.model_validate(order)

    async def _commit(
        self, order_id: UUID, reason: str | None, caller: Caller
    ) -> tuple[Order, bool]:
        async with self._database.transaction() as connection:
            # FOR UPDATE: what the order was decides whether an event goes out, so it must still
            # be that when the cancellation commits.
            order = await OrderRepository(connection).get(order_id, for_update=True)
            if order is None:
                raise not_found(order_id)
            caller.require_own(order.customer_email)
            if order.status == OrderStatus.CANCELLED:
                return order, False
            if not order.status.can_be_cancelled:
                raise CannotCancel(f"Cannot cancel an order that is {order.status}.")
            was_confirmed = order.status == OrderStatus.CONFIRMED
            await self._mark_cancelled(connection, order, reason)
            if was_confirmed:
                event = order_cancelled(order)
                await add_event(connection, topic=ORDER_CANCELLED, key=str(order.id), event=event)
        return order, True

    async def _mark_cancelled(
        self, connection: AsyncConnection, order: Order, reason: str | None
    ) -> None:
        lease = self._settings.lease_seconds
        order.updated_at = await OrderRepository(connection).cancel(order.id, reason, lease)
        order.status = OrderStatus.CANCELLED
        order.cancelled_by = CancelledBy.CALLER
        order.cancel_reason = reason

    async def _pay_debt(self, order_id: UUID, deadline: Deadline) -> None:
        try:
            await self._inventory.reverse(order_id, deadline)
            reach("cancelling.reversed")
            async with self._database.connection() as connection:
                await OrderRepository(connection).clear_debt(order_id)
        except (InventoryUnavailable, DatabaseUnavailable):
            log.warning("stock not returned yet", extra={"order_id": str(order_id)})
