"""A whole reduction in one round trip, where nothing about it is out of the ordinary."""

import json
from collections.abc import Mapping
from typing import Any

from chassis.postgres.database import Connection

_AT_ONCE = "SELECT reduce_at_once($1, $2, $3, $4, $5)"


async def reduce_at_once(
    connection: Connection,
    key: str,
    request: Mapping[str, Any],
    pieces: Mapping[str, int],
    low: int,
) -> str | None:
    """Claim the key, lock, take, write the ledger, store the answer; see migrations/ 0002.

    Args:
        connection: not in a transaction. This is one, and when it returns it is committed.
        request: what the key stands for, as `LedgerRepository.claim` has it.
        pieces: by product, in the order in which rows are locked.
        low: the threshold below which an available quantity is told of.

    Returns:
        What the caller is told, as JSON. None where nothing was done and nothing is stored,
        because the key is known, a product is short or unknown, or one falls below `low`: there is
        more to say then than a row, and `StockService` says it in a transaction.
    """
    answer: str | None = await connection.fetchval(
        _AT_ONCE, key, json.dumps(request), list(pieces), list(pieces.values()), low
    )
    return answer
