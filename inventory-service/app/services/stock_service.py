"""Moving stock: reduce, restock, reverse. A key has one effect, one answer: docs/order-flow.md."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter

from app.errors import (
    IdempotencyKeyReused,
    InsufficientStock,
    MovementReversed,
    StockLimitExceeded,
    UnknownProduct,
)
from app.metrics import StockMetrics
from app.models.inventory import InventoryItem
from app.repositories.inventory_repository import InventoryRepository
from app.repositories.ledger_repository import LedgerRepository, new_key
from app.schemas.inventory import MAX_STOCK, Item, ReductionLine, ReturnedLine, Reversal
from app.services.low_stock import LowStockWatch

_ITEMS = TypeAdapter(list[Item])


def summed(lines: Iterable[ReductionLine]) -> dict[str, int]:
    """Pieces by product, in the order in which rows are locked; equal products summed."""
    pieces: dict[str, int] = {}
    for line in lines:
        pieces[line.product_id] = pieces.get(line.product_id, 0) + line.quantity
    return dict(sorted(pieces.items()))


def _request(kind: str, pieces: Mapping[str, int]) -> dict[str, Any]:
    """What a key stands for, in one form however its lines were ordered or split."""
    return {"kind": kind, "items": [list(pair) for pair in pieces.items()]}


class StockService:
    """Moves stock within the caller's transaction; a refusal rolls all of it back, key included."""

    def __init__(
        self,
        items: InventoryRepository,
        ledger: LedgerRepository,
        watch: LowStockWatch,
        metrics: StockMetrics,
    ) -> None:
        self._items = items
        self._ledger = ledger
        self._watch = watch
        self._metrics = metrics

    async def reduce(self, lines: Iterable[ReductionLine], key: str | None) -> list[Item]:
        """Take all of `lines` or nothing. The same key takes once, and hears the same again.

        Raises:
            MovementReversed: the key was reversed meanwhile, perhaps before this call came.
            IdempotencyKeyReused: the key stands for another request.
            UnknownProduct, InsufficientStock: nothing was taken and nothing is stored.
        """
        pieces = summed(lines)
        with self._metrics.reduction() as outcome:
            earlier = await self._answered(key, "taken", _request("reduce", pieces))
            if earlier is not None:
                outcome.name = "replayed"
                return earlier
            return await self._take(pieces, key)

    async def _take(self, pieces: Mapping[str, int], key: str | None) -> list[Item]:
        available = await self._items.lock(pieces)
        if unknown := pieces.keys() - available.keys():
            raise UnknownProduct(*sorted(unknown))
        deltas = {product: -n for product, n in pieces.items()}
        items = await self._items.move(key or new_key("reduce"), "reduce", deltas)
        if short := pieces.keys() - items.keys():
            raise InsufficientStock([(p, pieces[p], available[p]) for p in sorted(short)])
        for product, item in items.items():
            await self._watch.note(item, available[product])
        return await self._answer(key, "taken", items.values())

    async def restock(self, product_id: str, quantity: int, key: str | None) -> Item:
        """Add pieces; with a key, once.

        Raises:
            MovementReversed, IdempotencyKeyReused: as `reduce`.
            UnknownProduct, StockLimitExceeded: nothing was added and nothing is stored.
        """
        pieces = {product_id: quantity}
        earlier = await self._answered(key, "given", _request("restock", pieces))
        if earlier is not None:
            return earlier[0]
        if not await self._items.lock(pieces):
            raise UnknownProduct(product_id)
        items = await self._items.move(
            key or new_key("restock"), "restock", pieces, ceiling=MAX_STOCK
        )
        if not items:
            raise StockLimitExceeded(MAX_STOCK)
        return (await self._answer(key, "given", items.values()))[0]

    async def reverse(self, key: str) -> Reversal:
        """Give back what `key` took, once. A key never seen is barred, so that a reduction that is
        still under way somewhere is refused when it comes."""
        nothing = Reversal(returned=[])
        row = await self._ledger.claim(
            key, state="reversed", request=None, answer=nothing.model_dump_json()
        )
        if row is None:
            self._metrics.reversals.labels("tombstone").inc()
            return nothing
        if row.state == "given":  # a restock took nothing, and its key cannot take any more
            self._metrics.reversals.labels("nothing").inc()
            return nothing
        if row.state == "reversed":
            self._metrics.reversals.labels("replayed").inc()
            return Reversal.model_validate_json(row.answer or "")
        return await self._give_back(key)

    async def _give_back(self, key: str) -> Reversal:
        taken = await self._ledger.taken_by(key)
        locked = await self._items.lock(taken)
        known = {product: n for product, n in taken.items() if product in locked}
        items = await self._items.move(key, "reverse", known)
        answer = Reversal(
            returned=[
                ReturnedLine(product_id=product, quantity=taken[product]) for product in items
            ]
        )
        await self._ledger.settle(key, state="reversed", answer=answer.model_dump_json())
        self._metrics.reversals.labels("returned").inc()
        self._metrics.lost_returns.inc(len(taken) - len(items))
        return answer

    async def _answered(
        self, key: str | None, state: str, request: dict[str, Any]
    ) -> list[Item] | None:
        """What this key was told before; None where it is new, and held from now on."""
        if key is None:
            return None
        row = await self._ledger.claim(key, state=state, request=request)
        if row is None:
            return None
        if row.state == "reversed":
            raise MovementReversed
        if row.request != request:
            raise IdempotencyKeyReused
        return _ITEMS.validate_json(row.answer or "")

    async def _answer(
        self, key: str | None, state: str, items: Iterable[InventoryItem]
    ) -> list[Item]:
        """What the caller is told, stored for whoever asks again with this key."""
        answer = [Item.model_validate(item) for item in items]
        if key is not None:
            stored = _ITEMS.dump_json(answer).decode()
            await self._ledger.settle(key, state=state, answer=stored)
        return answer
