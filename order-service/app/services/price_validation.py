"""Validate an order's prices against the catalogue, or against cached prices in an outage."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cachetools import TTLCache

from app.clients.product_client import Listing, ProductClient
from app.config import Settings
from app.errors import CatalogueUnavailable, PriceChanged, ProductUnavailable
from app.metrics import OrderMetrics
from app.schemas.order import OrderItemIn
from chassis.http_client.deadline import Deadline
from chassis.problems import Problem


@dataclass(frozen=True, slots=True)
class Quote:
    """The listings of an order's products.

    Attributes:
        listings: by product id; all of them, unless the catalogue is unavailable.
        requested_at: when the catalogue was asked.
        outage: why the listings come from the cache; None if they come from the catalogue.
    """

    listings: Mapping[str, Listing]
    requested_at: float
    outage: CatalogueUnavailable | None = None


class PriceValidator:
    """Looks prices up and compares them with those of an order.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self,
        catalogue: ProductClient,
        settings: Settings,
        metrics: OrderMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalogue = catalogue
        self._strict = settings.price_check == "strict"
        self._metrics = metrics
        self._clock = clock
        # Used only while the catalogue is unavailable. Values are (requested_at, listing).
        self._cache: TTLCache[str, tuple[float, Listing]] = TTLCache(
            settings.price_cache_products, settings.price_cache_ttl_seconds, timer=clock
        )

    async def quote(self, product_ids: Collection[str], deadline: Deadline) -> Quote:
        """Look the products up; use cached listings if the catalogue does not respond."""
        requested_at = self._clock()
        # Half of the time left: with a cached price the order can still be placed.
        half = deadline.sooner_of(deadline.remaining() / 2)
        try:
            return Quote(await self._catalogue.listings(product_ids, half), requested_at)
        except CatalogueUnavailable as outage:
            cached = {one: self._cache[one][1] for one in product_ids if one in self._cache}
            return Quote(cached, requested_at, outage)

    def store(self, quote: Quote) -> None:
        """Cache a quote from the catalogue. The most recently requested listing wins."""
        if quote.outage is not None:
            return
        for product_id, listing in quote.listings.items():
            if product_id in self._cache and self._cache[product_id][0] > quote.requested_at:
                continue
            self._cache[product_id] = (quote.requested_at, listing)

    def refusal(self, items: Sequence[OrderItemIn], quote: Quote) -> Problem | None:
        """Return why the items cannot be sold at their prices; None if they can.

        Certain refusals come before an outage: a later attempt would be refused as well.
        """
        outcomes = [(item, self._outcome(item, quote)) for item in items]
        for _, outcome in outcomes:
            self._metrics.count_price(outcome)
        refused = {"unavailable", "not_catalogued"} if self._strict else {"unavailable"}
        unavailable = [item.product_id for item, outcome in outcomes if outcome in refused]
        if unavailable:
            names = ", ".join(dict.fromkeys(unavailable))
            return ProductUnavailable(f"Not for sale: {names}.", product_id=unavailable[0])
        changed = [item for item, outcome in outcomes if outcome == "changed"]
        if changed:
            return _price_changed(changed, quote.listings)
        unknown = any(outcome == "catalogue_down" for _, outcome in outcomes)
        return quote.outage if unknown else None

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
        return "cached" if quote.outage else "current"


def _price_changed(items: Sequence[OrderItemIn], listings: Mapping[str, Listing]) -> PriceChanged:
    """Build the problem: the detail names all items, the members the first one (contract)."""
    changes = (
        f"{item.product_id} costs {listings[item.product_id].price}, not {item.unit_price}"
        for item in items
    )
    first = items[0].product_id
    return PriceChanged(
        f"{'; '.join(changes)}.", product_id=first, current_price=listings[first].price
    )
