"""Client of product-service. It turns transport errors into domain errors."""

from collections.abc import Collection
from typing import Literal, Self

from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from app.errors import CatalogueUnavailable
from chassis.field_types import Money
from chassis.http_client.breaker import BreakerPolicy
from chassis.http_client.client import ClientPolicy, ResilientClient, UpstreamUnavailable
from chassis.http_client.deadline import Deadline

# A lookup only reads. It times out early: a cached price may still be valid, and then there must be
# time left to place the order. The circuit opens briefly: a slow catalogue is not an outage.
POLICY = ClientPolicy(
    read_timeout=1.0,
    pool_timeout=1.5,
    total_timeout=1.5,
    breaker=BreakerPolicy(failures_in_a_row=10, reset_timeout=2.0),
)


class Listing(BaseModel):
    """A product in the catalogue. Other fields of the response are ignored.

    Attributes:
        state: for sale at `price`, deleted (for ever: ids are not reused), or unknown.
        name: None also if product-service is of a release that does not send it.
    """

    model_config = ConfigDict(frozen=True)

    product_id: str
    state: Literal["listed", "deleted", "unknown"]
    price: Money | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _price_if_listed(self) -> Self:
        if (self.state == "listed") != bool(self.price):
            raise ValueError("a listed product has a price, any other has none")
        return self


class _Listings(BaseModel):
    prices: list[Listing]


class ProductClient:
    """Looks up prices and names of products."""

    def __init__(
        self, base_url: str, registry: CollectorRegistry, policy: ClientPolicy = POLICY
    ) -> None:
        self._http = ResilientClient(base_url, "product", registry=registry, policy=policy)

    async def close(self) -> None:
        await self._http.aclose()

    async def ping(self) -> None:
        await self._http.request("GET", "/health", deadline=Deadline.after(1.0))

    async def listings(
        self, product_ids: Collection[str], deadline: Deadline
    ) -> dict[str, Listing]:
        """Return the listing of each product; at most 100 products.

        Raises:
            CatalogueUnavailable: no response, or one that lacks a product or is malformed.
        """
        try:
            reply = await self._http.request(
                "POST",
                "/api/products/prices",
                json={"product_ids": list(product_ids)},
                idempotent=True,
                deadline=deadline,
            )
            document = reply.json() if reply.status == 200 else None
            listings = _Listings.model_validate(document).prices
        except UpstreamUnavailable as error:
            raise CatalogueUnavailable(
                CatalogueUnavailable.example, retry_after=error.retry_after or 1.0
            ) from error
        except ValidationError as error:
            raise CatalogueUnavailable(CatalogueUnavailable.example) from error
        found = {listing.product_id: listing for listing in listings}
        if not found.keys() >= set(product_ids):
            raise CatalogueUnavailable(CatalogueUnavailable.example)
        return found
