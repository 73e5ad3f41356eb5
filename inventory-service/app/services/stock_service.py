"""Moving stock: reduce, restock, reverse. A key has one effect, one answer: docs/order-flow.md."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter

from app.database import writing
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
from app.repositories.reductions import reduce_at_once
from app.schemas.inventory import MAX_STOCK, Item, ReductionLine, ReturnedLine, Reversal
from app.services.low_stock import LowStockWatch
from chassis.database import Connection, Database
from chassis.failpoints import reach

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
    """Each call is one transaction; a refusal rolls all of it back, key included.

    Answers are JSON as it is stored, so that a repeat hears the first one byte for byte.
    """

    def __init__(self, database: Database, watch: LowStockWatch, metrics: StockMetrics) -> None:
        self._database = database
        self._watch = watch
        self._metrics = metrics

    async def reduce(self, lines: Iterable[ReductionLine], key: str | None) -> str:
        """Take all of `lines` or nothing. The same key takes once, and hears the same again.

        Returns:
            A list of `Item`, as JSON.

        Raises:
            MovementReversed: the key was reversed meanwhile, perhaps before this call came.
            IdempotencyKeyReused: the key stands for another request.
            UnknownProduct, InsufficientStock: nothing was taken and nothing is stored.
        """
        pieces = summed(lines)
        request = _request("reduce", pieces)
        with self._metrics.reduction() as outcome:
            if key is not None and (answer := await self._at_once(key, request, pieces)):
                return answer
            async with writing(self._database) as connection:
                earlier = await self._answered(connection, key, "taken", request)
                if earlier is not None:
                    outcome.name = "replayed"
                    return earlier
                return await self._take(connection, pieces, key)

    async def _at_once(
        self, key: str, request: Mapping[str, Any], pieces: Mapping[str, int]
    ) -> str | None:
        """Nearly every reduction ends here. The others have done nothing, and begin again."""
        low = self._watch.threshold
        reach("write.committing")  # as before a COMMIT: of what follows, nothing is stored yet
        async with self._database.connection() as connection:
            answer = await reduce_at_once(connection, key, request, pieces, low)
        if answer is not None:
            reach("write.committed")
        return answer

    async def _take(
        self, connection: Connection, pieces: Mapping[str, int], key: str | None
    ) -> str:
        repository = InventoryRepository(connection)
        available = await repository.lock(pieces)
        if unknown := pieces.keys() - available.keys():
            raise UnknownProduct(*sorted(unknown))
        deltas = {product: -n for product, n in pieces.items()}
        items = await repository.move(key or new_key("reduce"), "reduce", deltas)
        if short := pieces.keys() - items.keys():
            raise InsufficientStock([(p, pieces[p], available[p]) for p in sorted(short)])
        for product, item in items.items():
            await self._watch.note(connection, item, available[product])
        return await self._answer(connection, key, "taken", items.values())

    async def restock(self, product_id: str, quantity: int, key: str | None) -> str:
        """Add pieces; with a key, once.

        Returns:
            A list of one `Item`, as JSON.

        Raises:
            MovementReversed, IdempotencyKeyReused: as `reduce`.
            UnknownProduct, StockLimitExceeded: nothing was added and nothing is stored.
        """
        pieces = {product_id: quantity}
        async with writing(self._database) as connection:
            request = _request("restock", pieces)
            earlier = await self._answered(connection, key, "given", request)
            if earlier is not None:
                return earlier
            repository = InventoryRepository(connection)
            if not await repository.lock(pieces):
                raise UnknownProduct(product_id)
            items = await repository.move(
                key or new_key("restock"), "restock", pieces, ceiling=MAX_STOCK
            )
            if not items:
                raise StockLimitExceeded(MAX_STOCK)
            return await self._answer(connection, key, "given", items.values())

    async def reverse(self, key: str) -> Reversal:
        """Give back what `key` took, once. A key never seen is barred, so that a reduction that is
        still under way somewhere is refused when it comes."""
        nothing = Reversal(returned=[])
        async with writing(self._database) as connection:
            row = await LedgerRepository(connection).claim(
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
            return await self._give_back(connection, key)

    async def _give_back(self, connection: Connection, key: str) -> Reversal:
        repository, ledger = InventoryRepository(connection), LedgerRepository(connection)
        taken = await ledger.taken_by(key)
        locked = await repository.lock(taken)
        known = {product: n for product, n in taken.items() if product in locked}
        items = await repository.move(key, "reverse", known)
        answer = Reversal(
            returned=[
                ReturnedLine(product_id=product, quantity=taken[product]) for product in items
            ]
        )
        await ledger.settle(key, state="reversed", answer=answer.model_dump_json())
        self._metrics.reversals.labels("returned").inc()
        self._metrics.lost_returns.inc(len(taken) - len(items))
        return answer

    async def _answered(
        self, connection: Connection, key: str | None, state: str, request: Mapping[str, Any]
    ) -> str | None:
        """What this key was told before; None where it is new, and held from now on."""
        if key is None:
            return None
        row = await LedgerRepository(connection).claim(key, state=state, request=request)
        if row is None:
            return None
        if row.state == "reversed":
            raise MovementReversed
        if row.request != request:
            raise IdempotencyKeyReused
        return row.answer or ""

    async def _answer(
        self,
        connection: Connection,
        key: str | None,
        state: str,
        items: Iterable[InventoryItem],
    ) -> str:
        """What the caller is told, stored for whoever asks again with this key."""
        answer = _ITEMS.dump_json([Item.model_validate(item) for item in items]).decode()
        if key is not None:
            await LedgerRepository(connection).settle(key, state=state, answer=answer)
        return answer
