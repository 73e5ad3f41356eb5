"""What is known of each product's stock, and what a person may set by hand."""

from app.errors import ProductAlreadyExists, ReservedExceedsQuantity, UnknownProduct
from app.repositories.inventory_repository import InventoryRepository
from app.repositories.ledger_repository import LedgerRepository, new_key
from app.schemas.inventory import Availability, Item, ItemChanges, Message, NewItem
from app.services.low_stock import LowStockWatch


class InventoryReader:
    """Answers questions; needs no transaction."""

    def __init__(self, items: InventoryRepository) -> None:
        self._items = items

    async def get(self, product_id: str) -> Item:
        item = await self._items.get(product_id)
        if item is None:
            raise UnknownProduct(product_id)
        return Item.model_validate(item)

    async def check(self, product_id: str, quantity: int) -> Availability:
        """Advice to a caller; only a reduction decides."""
        available = await self._items.available(product_id)
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
        found = await self._items.page(after, limit + 1)
        items = [Item.model_validate(item) for item in found[:limit]]
        return items, items[-1].product_id if len(found) > limit else None


class InventoryService:
    """Creates, changes and deletes items. The ledger hears of every piece."""

    def __init__(
        self, items: InventoryRepository, ledger: LedgerRepository, watch: LowStockWatch
    ) -> None:
        self._items = items
        self._ledger = ledger
        self._watch = watch

    async def create(self, new: NewItem) -> Item:
        item = await self._items.add(new.product_id, new.product_name, new.quantity)
        if item is None:
            raise ProductAlreadyExists(new.product_id)
        await self._ledger.record(new_key("create"), "create", {item.product_id: item.quantity})
        return Item.model_validate(item)

    async def update(self, product_id: str, changes: ItemChanges) -> Item:
        """Set what `changes` names. The row is locked first: the difference goes to the ledger."""
        item = await self._items.get_locked(product_id)
        if item is None:
            raise UnknownProduct(product_id)
        values = changes.model_dump(exclude_unset=True)
        if not values:
            return Item.model_validate(item)
        quantity = values.get("quantity", item.quantity)
        reserved = values.get("reserved_qty", item.reserved_qty)
        if reserved > quantity:
            raise ReservedExceedsQuantity(reserved, quantity)
        delta, before = quantity - item.quantity, item.available_qty
        changed = await self._items.change(product_id, values)
        await self._ledger.record(new_key("adjust"), "adjust", {product_id: delta})
        await self._watch.note(changed, before)
        return Item.model_validate(changed)

    async def delete(self, product_id: str) -> Message:
        """The ledger writes the pieces off, so that a product made anew begins from nothing."""
        quantity = await self._items.remove(product_id)
        if quantity is None:
            raise UnknownProduct(product_id)
        await self._ledger.record(new_key("delete"), "delete", {product_id: -quantity})
        return Message(message=f"Inventory item {product_id} deleted.")
