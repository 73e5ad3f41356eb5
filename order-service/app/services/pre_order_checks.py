"""What is asked before anything is stored: on sale, at this price, in stock?"""

import asyncio
from collections.abc import Mapping

from app.clients.inventory_client import Availability
from app.errors import OutOfStock
from app.schemas.order import OrderIn
from app.services.availability import Stock
from app.services.price_validation import ListPrices, Quote
from chassis.http_client.deadline import Deadline
from chassis.problems import Problem

# Unknown, wrong price, short; and after what is certain, what could not be found out.
PRECEDENCE = (404, 409, 400, 503)


class OrderCheck:
    """Step 2 of placing: the catalogue and inventory are asked together, and judged as one."""

    def __init__(self, stock: Stock, prices: ListPrices) -> None:
        self._stock = stock
        self._prices = prices

    async def check(self, request: OrderIn, deadline: Deadline) -> dict[str, str]:
        """Refuse what cannot be sold. A price that is right now holds for the whole of placing.

        Returns:
            The catalogue's names by product id, as far as it tells them.

        Raises:
            ProductUnknown: inventory does not know a product.
            PriceChanged, ProductUnavailable: the catalogue says otherwise.
            OutOfStock: there is too little of something.
            InventoryUnavailable, CatalogueUnavailable: nothing is certainly wrong, and not all is
                known to be right.
        """
        pieces = request.pieces
        quote, found = await self._ask(pieces, deadline)
        refusals = [self._prices.refusal(request.items, quote), _short(pieces, found)]
        failures = [
            each for each in (*found.values(), *refusals) if isinstance(each, BaseException)
        ]
        first = min(failures, key=_precedence, default=None)
        if first is None or _precedence(first) > 0:
            self._prices.remember(quote)
        if first is not None:
            raise first
        return {product: one.name for product, one in quote.listings.items() if one.name}

    async def _ask(
        self, pieces: Mapping[str, int], deadline: Deadline
    ) -> tuple[Quote, dict[str, Availability | BaseException]]:
        """What the catalogue says, and inventory of each product that it may be short of."""
        doubtful = {
            product: count
            for product, count in pieces.items()
            if not self._stock.has_plenty(product, count)
        }
        if not doubtful:
            return await self._prices.quote(pieces.keys(), deadline), {}
        checks = (self._stock.check(product, n, deadline) for product, n in doubtful.items())
        quote, stock = await asyncio.gather(
            self._prices.quote(pieces.keys(), deadline),
            asyncio.gather(*checks, return_exceptions=True),
        )
        return quote, dict(zip(doubtful, stock, strict=True))


def _precedence(failure: BaseException) -> int:
    """The place among the refusals; before them all, what nobody expected."""
    return PRECEDENCE.index(failure.status) if isinstance(failure, Problem) else -1


def _short(
    pieces: Mapping[str, int], found: Mapping[str, Availability | BaseException]
) -> OutOfStock | None:
    """One refusal that names every product of which there is too little."""
    short = [
        f"{product}: {pieces[product]} asked for, {result.available_qty} available"
        for product, result in found.items()
        if isinstance(result, Availability) and not result.in_stock
    ]
    return OutOfStock(f"Insufficient stock of {'; '.join(short)}.") if short else None
