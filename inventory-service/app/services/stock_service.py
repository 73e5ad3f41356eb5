"""Moving stock: reduce, restock, reverse. A key has one effect, one answer: docs/order-flow.md."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
from chassis.app.idempotency import normalized
from chassis.failpoints import reach
from chassis.postgres.database import Connection, Database

_ITEMS = TypeAdapter(list[Item])


def summed(lines: Iterable[ReductionLine]) -> dict[str, int]:
    """Pieces by product, in the order in which rows are locked; equal products summed."""
    pieces: dict[str, int] = {}
    for line in lines:
        pieces[line.product_id] = pieces.get(line.product_id, 0) + line.quantity
    return dict(sorted(pieces.items()))


def _request(kind: str, pieces: Mapping[str, int], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that is stored under a key, however its lines were ordered or split."""
    return {"kind": kind, "items": [list(pair) for pair in pieces.items()], **options}


def _is_same_request(stored: Mapping[str, Any] | None, request: Mapping[str, Any]) -> bool:
    """Compare two results of `_request`; Unicode normalization may change the order of ids."""
    if stored is None:
        return False
    first, second = (
        {**document, "items": Counter(dict(document["items"]))}
        for document in (normalized(dict(stored)), normalized(dict(request)))
    )
    return first == second


@dataclass(frozen=True, slots=True)
class Answer:
    """A response body as it is stored under a key; `replayed` if an earlier request earned it."""

    body: str
    replayed: bool = False


class StockService:
    """Each call is one transaction; a refusal rolls all of it back, key included.

    Answers are JSON as it is stored, so that a repeat hears the first one byte for byte.
    """

    def __init__(self, database: Database, watch: LowStockWatch, metrics: StockMetrics) -> None:
        self._database = database
        self._watch = watch
        self._metrics = metrics

    async def reduce(
        self, lines: Iterable[ReductionLine], key: str | None, options: Mapping[str, Any]
    ) -> Answer:
        """Take all of `lines` or nothing. The same key takes once, and hears the same again.

        Args:
            options: the request's other fields, which a repeat with `key` must have too.

        Returns:
            A list of `Item`, as JSON.

        Raises:
            MovementReversed: the key was reversed meanwhile, perhaps before this call came.
            IdempotencyKeyReused: the key stands for another request.
            UnknownProduct, InsufficientStock: nothing was taken and nothing is stored.
        """
        pieces = summed(lines)
        request = _request("reduce", pieces, options)
        with self._metrics.reduction() as outcome:
            if key is not None and (body := await self._at_once(key, request, pieces)):
                return Answer(body)
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
    ) -> Answer:
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

    async def restock(
        self, product_id: str, quantity: int, key: str | None, options: Mapping[str, Any]
    ) -> Answer:
        """Add pieces; with a key, once.

        Args:
            options: as for `reduce`.

        Returns:
            A list of one `Item`, as JSON.

        Raises:
            MovementReversed, IdempotencyKeyReused: as `reduce`.
            UnknownProduct, StockLimitExceeded: nothing was added and nothing is stored.
        """
        pieces = {product_id: quantity}
        async with writing(self._database) as connection:
            request = _request("restock", pieces, options)
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

    async def reverse(self, key: str) -> Answer:
        """Give back what `key` took, once. A key never seen is barred, so that a reduction that is
        still under way somewhere is refused when it comes.

        Returns:
            A `Reversal`, as JSON.
        """
        nothing = Answer(Reversal(returned=[]).model_dump_json())
        async with writing(self._database) as connection:
            row = await LedgerRepository(connection).claim(
                key, state="reversed", request=None, answer=nothing.body
            )
            if row is None:
                self._metrics.reversals.labels("tombstone").inc()
                return nothing
            if row.state == "given":  # a restock took nothing, and its key cannot take any more
                self._metrics.reversals.labels("nothing").inc()
                return nothing
            if row.state == "reversed":
                self._metrics.reversals.labels("replayed").inc()
                return Answer(row.answer or "", replayed=True)
            return await self._give_back(connection, key)

    async def _give_back(self, connection: Connection, key: str) -> Answer:
        repository, ledger = InventoryRepository(connection), LedgerRepository(connection)
        taken = await ledger.taken_by(key)
        locked = await repository.lock(taken)
        known = {product: n for product, n in taken.items() if product in locked}
        items = await repository.move(key, "reverse", known)
        returned = [ReturnedLine(product_id=one, quantity=taken[one]) for one in items]
        answer = Answer(Reversal(returned=returned).model_dump_json())
        await ledger.settle(key, state="reversed", answer=answer.body)
        self._metrics.reversals.labels("returned").inc()
        self._metrics.lost_returns.inc(len(taken) - len(items))
        return answer

    async def _answered(
        self, connection: Connection, key: str | None, state: str, request: Mapping[str, Any]
    ) -> Answer | None:
        """What this key was told before; None where it is new, and held from now on."""
        if key is None:
            return None
        row = await LedgerRepository(connection).claim(key, state=state, request=request)
        if row is None:
            return None
        if row.state == "reversed":
            raise MovementReversed
        if not _is_same_request(row.request, request):
            raise IdempotencyKeyReused
        return Answer(row.answer or "", replayed=True)

    async def _answer(
        self,
        connection: Connection,
        key: str | None,
        state: str,
        items: Iterable[InventoryItem],
    ) -> Answer:
        """Build the response, and store it for a repeat with this key."""
        body = _ITEMS.dump_json([Item.model_validate(item) for item in items]).decode()
        if key is not None:
            await LedgerRepository(connection).settle(key, state=state, answer=body)
        return Answer(body)
