"""Reduce, restock and reverse stock. A key has one effect and one response: docs/order-flow.md."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

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
from app.schemas.inventory import MAX_STOCK, Item, ReductionLine, ReturnedLine, Reversal
from app.services.low_stock import LowStockWatch
from chassis.app.idempotency import normalized
from chassis.postgres.database import Database

_ITEMS = TypeAdapter(list[Item])


def summed(lines: Iterable[ReductionLine]) -> dict[str, int]:
    """Sum the lines of equal products; return pieces by product, in the order of locking."""
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
    """A response body as stored under a key; `replayed` if an earlier request created it."""

    body: str
    replayed: bool = False


class StockService:
    """Each call is one transaction; a refusal rolls all of it back, the key included.

    Responses are stored as JSON, so that a repeat receives the first one byte for byte.
    """

    def __init__(self, database: Database, watch: LowStockWatch, metrics: StockMetrics) -> None:
        self._database = database
        self._watch = watch
        self._metrics = metrics

    async def reduce(
        self, lines: Iterable[ReductionLine], key: str | None, options: Mapping[str, Any]
    ) -> Answer:
        """Take all of `lines` or nothing. A repeat with the same key returns the first response.

        Args:
            options: the request's other fields, which a repeat with `key` must have too.

        Returns:
            A list of `Item`, as JSON.

        Raises:
            MovementReversed: the key was reversed, perhaps before this call arrived.
            IdempotencyKeyReused: the key belongs to another request.
            UnknownProduct, InsufficientStock: nothing was taken and nothing is stored.
        """
        pieces = summed(lines)
        request = _request("reduce", pieces, options)
        with self._metrics.reduction() as outcome:
            async with writing(self._database) as connection:
                repository = InventoryRepository(connection)
                available = await _claim_and_lock(repository, key, "taken", request, pieces)
                if available is None:
                    outcome.name = "replayed"
                    return await _replay(connection, key, request)
                if unknown := pieces.keys() - available.keys():
                    raise UnknownProduct(*sorted(unknown))
                deltas = {product: -n for product, n in pieces.items()}
                items = await repository.move(key or new_key("reduce"), "reduce", deltas)
                if short := pieces.keys() - items.keys():
                    raise InsufficientStock([(p, pieces[p], available[p]) for p in sorted(short)])
                for product, item in items.items():
                    await self._watch.note(connection, item, available[product])
                return await _store_answer(connection, key, "taken", items.values())

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
        request = _request("restock", pieces, options)
        async with writing(self._database) as connection:
            repository = InventoryRepository(connection)
            available = await _claim_and_lock(repository, key, "given", request, pieces)
            if available is None:
                return await _replay(connection, key, request)
            if not available:
                raise UnknownProduct(product_id)
            items = await repository.move(
                key or new_key("restock"), "restock", pieces, ceiling=MAX_STOCK
            )
            if not items:
                raise StockLimitExceeded(MAX_STOCK)
            return await _store_answer(connection, key, "given", items.values())

    async def reverse(self, key: str) -> Answer:
        """Return what the reduction of `key` took, once.

        A key that was never seen is stored as reversed, so that a late reduction is refused.

        Returns:
            A `Reversal`, as JSON.
        """
        nothing = Answer(Reversal(returned=[]).model_dump_json())
        async with writing(self._database) as connection:
            ledger = LedgerRepository(connection)
            if await ledger.claim(key, state="reversed", answer=nothing.body):
                self._metrics.reversals.labels("tombstone").inc()
                return nothing
            row = await ledger.find_locked(key)
            if row.state == "given":  # a restock took nothing, and its key cannot take any more
                self._metrics.reversals.labels("nothing").inc()
                return nothing
            if row.state == "reversed":
                self._metrics.reversals.labels("replayed").inc()
                return Answer(row.answer or "", replayed=True)
            return await self._give_back(connection, key)

    async def _give_back(self, connection: AsyncConnection, key: str) -> Answer:
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


async def _claim_and_lock(
    repository: InventoryRepository,
    key: str | None,
    state: str,
    request: Mapping[str, Any],
    pieces: Mapping[str, int],
) -> dict[str, int] | None:
    """Lock the items; return what each has available, or None if the key exists."""
    if key is None:
        return await repository.lock(pieces)
    return await repository.claim_and_lock(key, state, request, pieces)


async def _replay(
    connection: AsyncConnection, key: str | None, request: Mapping[str, Any]
) -> Answer:
    """Return the stored response of a key that exists."""
    assert key is not None  # noqa: S101  without a key there is no row
    row = await LedgerRepository(connection).find_locked(key)
    if row.state == "reversed":
        raise MovementReversed
    if not _is_same_request(row.request, request):
        raise IdempotencyKeyReused
    return Answer(row.answer or "", replayed=True)


async def _store_answer(
    connection: AsyncConnection, key: str | None, state: str, items: Iterable[InventoryItem]
) -> Answer:
    """Build the response, and store it under the key for replays."""
    body = _ITEMS.dump_json([Item.model_validate(item) for item in items]).decode()
    if key is not None:
        await LedgerRepository(connection).settle(key, state=state, answer=body)
    return Answer(body)
