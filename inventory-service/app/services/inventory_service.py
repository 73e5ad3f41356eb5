"""Inventory items: create, read, list, correct and delete."""

from app.database import writing
from app.errors import ProductAlreadyExists, ReservedExceedsQuantity, UnknownProduct
from app.models.inventory import entity_tag
from app.repositories.inventory_repository import InventoryRepository
from app.repositories.ledger_repository import LedgerRepository, new_key
from app.schemas.inventory import Availability, Item, ItemChanges, Message, NewItem
from app.services.low_stock import LowStockWatch
from chassis.app.conditional_requests import Preconditions
from chassis.postgres.database import Database


class InventoryReader:
    """Answers questions. Each is one SELECT, which needs no BEGIN and no COMMIT around it: two
    round trips of three. Several statements would each see the database at another moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, product_id: str) -> Item:
        async with self._database.connection() as connection:
            item = await InventoryRepository(connection).get(product_id)
        if item is None:
            raise UnknownProduct(product_id)
        return Item.model_validate(item)

    async def check(self, product_id: str, quantity: int) -> Availability:
        """Advice to a caller; only a reduction decides."""
        async with self._database.connection() as connection:
            available = await InventoryRepository(connection).available(product_id)
        if available is None:
            raise UnknownProduct(product_id)
        return Availability(
            product_id=product_id,
            requested=quantity,
            in_stock=available >= quantity,
            available_qty=available,
        )

    async def page(self, after: str | None, limit: int) -> tuple[list[Item], str | None]:
        """One page in the order of product ids, and where the next one begins if there is one."""
        async with self._database.connection() as connection:
            found = await InventoryRepository(connection).page(after, limit + 1)
        items = [Item.model_validate(item) for item in found[:limit]]
        return items, items[-1].product_id if len(found) > limit else None


class InventoryService:
    """Creates, changes and deletes items, each call in one transaction. The ledger hears of every
    piece."""

    def __init__(self, database: Database, watch: LowStockWatch) -> None:
        self._database = database
        self._watch = watch

    async def create(self, new: NewItem) -> Item:
        async with writing(self._database) as connection:
            item = await InventoryRepository(connection).add(
                new.product_id, new.product_name, new.quantity
            )
            if item is None:
                raise ProductAlreadyExists(new.product_id)
            pieces = {item.product_id: item.quantity}
            await LedgerRepository(connection).record(new_key("create"), "create", pieces)
            return Item.model_validate(item)

    async def update(
        self, product_id: str, changes: ItemChanges, preconditions: Preconditions
    ) -> Item:
        """Set what `changes` names. The row is locked first: the difference goes to the ledger.

        The lock also keeps the state for which the preconditions were checked.
        """
        async with writing(self._database) as connection:
            repository = InventoryRepository(connection)
            item = await repository.get_locked(product_id)
            if item is None:
                raise UnknownProduct(product_id)
            preconditions.require(entity_tag(item))
            values = changes.model_dump(exclude_unset=True)
            if not values:
                return Item.model_validate(item)
            name = values.get("product_name", item.product_name)
            quantity = values.get("quantity", item.quantity)
            reserved = values.get("reserved_qty", item.reserved_qty)
            if reserved > quantity:
                raise ReservedExceedsQuantity(reserved, quantity)
            changed = await repository.change(product_id, name, quantity, reserved)
            delta = {product_id: quantity - item.quantity}
            await LedgerRepository(connection).record(new_key("adjust"), "adjust", delta)
            await self._watch.note(connection, changed, item.available_qty)
            return Item.model_validate(changed)

    async def delete(self, product_id: str, preconditions: Preconditions) -> Message:
        """Delete the item; its pieces are written off in the ledger."""
        async with writing(self._database) as connection:
            repository = InventoryRepository(connection)
            item = await repository.get_locked(product_id)
            if item is None:
                raise UnknownProduct(product_id)
            preconditions.require(entity_tag(item))
            await repository.remove(product_id)
            pieces = {product_id: -item.quantity}
            await LedgerRepository(connection).record(new_key("delete"), "delete", pieces)
            return Message(message=f"Inventory item {product_id} deleted successfully.")
