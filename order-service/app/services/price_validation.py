"""An order's prices, held against the catalogue's, or against its last word while it is away."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from app.clients.product_client import Listing, ProductClient
from app.config import Settings
from app.errors import CatalogueUnavailable, PriceChanged, ProductUnavailable
from app.metrics import OrderMetrics
from app.schemas.order import OrderItemIn
from app.services.ttl_cache import Clock, Memory
from chassis.http_client.deadline import Deadline
from chassis.problems import Problem


@dataclass(frozen=True, slots=True)
class Quote:
    """What counts as the catalogue's word on an order's products.

    Attributes:
        listings: by product; all of them, unless the catalogue is away.
        asked_at: when the catalogue was asked.
        away: why the listings are only what is remembered.
    """

    listings: Mapping[str, Listing]
    asked_at: float
    away: CatalogueUnavailable | None = None


class ListPrices:
    """Step 2's question to the catalogue, and what follows from the answer."""

    def __init__(
        self,
        catalogue: ProductClient,
        settings: Settings,
        metrics: OrderMetrics,
        clock: Clock = time.monotonic,
    ) -> None:
        self._catalogue = catalogue
        self._strict = settings.price_check == "strict"
        self._metrics = metrics
        self._clock = clock
        seconds, size = settings.price_memory_seconds, settings.price_memory_products
        # What it lacks costs an order a 503 during an outage, no more.
        self._memory: Memory[Listing] = Memory(seconds, size, clock)

    async def quote(self, product_ids: Collection[str], deadline: Deadline) -> Quote:
        """Ask the catalogue; where it does not answer, whatever is remembered."""
        asked_at = self._clock()
        # Half of the time that is left: with a remembered price the order can still be placed.
        half = deadline.sooner_of(deadline.remaining() / 2)
        try:
            return Quote(await self._catalogue.listings(product_ids, half), asked_at)
        except CatalogueUnavailable as away:
            return Quote(self._memory.recall(product_ids), asked_at, away)

    def remember(self, quote: Quote) -> None:
        """Keep a quote for an outage.

        Not that of an order for something that inventory does not know: inventing product ids
        must not push out the prices of real ones.
        """
        if quote.away is None:
            self._memory.keep(quote.listings, quote.asked_at)

    def refusal(self, items: Sequence[OrderItemIn], quote: Quote) -> Problem | None:
        """Why these items cannot be sold at their prices; None if they can.

        Certain reasons come before "not known": a later try would be refused just the same.
        """
        outcomes = [(item, self._outcome(item, quote)) for item in items]
        for _, outcome in outcomes:
            self._metrics.count_price(outcome)
        gone = {"unavailable", "not_catalogued"} if self._strict else {"unavailable"}
        unavailable = [item.product_id for item, outcome in outcomes if outcome in gone]
        if unavailable:
            names = ", ".join(dict.fromkeys(unavailable))
            return ProductUnavailable(f"Not for sale: {names}.", product_id=unavailable[0])
        changed = [item for item, outcome in outcomes if outcome == "changed"]
        if changed:
            return _price_changed(changed, quote.listings)
        return quote.away if any(outcome == "catalogue_down" for _, outcome in outcomes) else None

    def _outcome(self, item: OrderItemIn, quote: Quote) -> str:
        listing = quote.listings.get(item.product_id)
        if listing is None:
            return "catalogue_down"
        if listing.state == "unknown":
            return "not_catalogued"
        if listing.state == "deleted":
            return "unavailable"
        if listing.price != item.unit_price:
            return "changed"
        return "remembered" if quote.away else "current"


def _price_changed(items: Sequence[OrderItemIn], listings: Mapping[str, Listing]) -> PriceChanged:
    """All of them in words; in members the first, which is what the contract has."""
    told = (
        f"{item.product_id} costs {listings[item.product_id].price}, not {item.unit_price}"
        for item in items
    )
    first = items[0].product_id
    return PriceChanged(
        f"{'; '.join(told)}.", product_id=first, current_price=listings[first].price
    )
