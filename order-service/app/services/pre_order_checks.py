"""Check prices and stock before an order is stored."""

import asyncio
from collections.abc import Mapping

from app.clients.inventory_client import Availability, InventoryClient
from app.errors import OutOfStock
from app.schemas.order import OrderIn
from app.services.price_validation import PriceValidator
from chassis.http_client.deadline import Deadline
from chassis.problems import Problem

# Unknown product, wrong price, short stock; an outage comes last.
PRECEDENCE = (404, 409, 400, 503)


class PreOrderChecks:
    """Asks the catalogue and inventory concurrently.

    The stock check decides nothing: another order may take the last piece before the reduction. It
    keeps orders that would be refused from being stored.
    """

    def __init__(self, inventory: InventoryClient, prices: PriceValidator) -> None:
        self._inventory = inventory
        self._prices = prices

    async def run(self, request: OrderIn, deadline: Deadline) -> dict[str, str]:
        """Refuse an order that cannot be sold. A price that is right now is not checked again.

        Returns:
            The catalogue's product names by product id, as far as it sends them.

        Raises:
            ProductUnknown: inventory does not know a product.
            PriceChanged, ProductUnavailable: the catalogue has another price or no such product.
            OutOfStock: the stock of a product is too low.
            InventoryUnavailable, CatalogueUnavailable: no check failed, but not all have passed.
        """
        pieces = request.pieces
        checks = (self._inventory.check(one, count, deadline) for one, count in pieces.items())
        quote, results = await asyncio.gather(
            self._prices.quote(pieces.keys(), deadline),
            asyncio.gather(*checks, return_exceptions=True),
        )
        stock = dict(zip(pieces, results, strict=True))
        refusals = [self._prices.refusal(request.items, quote), _out_of_stock(pieces, stock)]
        failures = [
            each for each in (*stock.values(), *refusals) if isinstance(each, BaseException)
        ]
        first = min(failures, key=_precedence, default=None)
        # Not for a product that inventory does not know: invented ids must not evict real prices.
        if first is None or _precedence(first) > 0:
            self._prices.store(quote)
        if first is not None:
            raise first
        return {one: listing.name for one, listing in quote.listings.items() if listing.name}


def _precedence(failure: BaseException) -> int:
    """Return the rank of a failure; an unexpected error comes first."""
    return PRECEDENCE.index(failure.status) if isinstance(failure, Problem) else -1


def _out_of_stock(
    pieces: Mapping[str, int], stock: Mapping[str, Availability | BaseException]
) -> OutOfStock | None:
    """Return one problem that names every product with too little stock."""
    short = [
        f"{product}: {pieces[product]} asked for, {result.available_qty} available"
        for product, result in stock.items()
        if isinstance(result, Availability) and not result.in_stock
    ]
    return OutOfStock(f"Insufficient stock of {'; '.join(short)}.") if short else None
