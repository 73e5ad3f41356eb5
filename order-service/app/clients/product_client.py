"""product-service as order-service sees it: what the catalogue says of many products at once."""

from collections.abc import Collection
from typing import Literal, Self

from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from app.errors import CatalogueUnavailable
from chassis.field_types import Money
from chassis.http_client.breaker import BreakerPolicy
from chassis.http_client.client import ClientPolicy, ResilientClient, UpstreamUnavailable
from chassis.http_client.deadline import Deadline
from chassis.http_client.retry import RETRIED_STATUSES
from chassis.request_coalescing import GatheredAnswers

# A lookup only reads. It is cut off early, for a price that is remembered may still count, and
# then there must be time left to place the order; and a rush that makes the catalogue slow is no
# outage: the circuit opens for short.
POLICY = ClientPolicy(
    read_timeout=1.0,
    pool_timeout=1.5,
    total_timeout=1.5,
    breaker=BreakerPolicy(failures_in_a_row=10, reset_timeout=2.0),
)


MOST = 100  # products of one lookup


class Listing(BaseModel):
    """The catalogue's word on a product; fields that are not used here are ignored.

    Attributes:
        state: for sale at `price`, deleted (for ever: ids are not used again), or never heard of.
        name: None also where product-service is of a release that does not tell it.
    """

    model_config = ConfigDict(frozen=True)

    product_id: str
    state: Literal["listed", "deleted", "unknown"]
    price: Money | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _priced_if_listed(self) -> Self:
        if (self.state == "listed") != bool(self.price):
            raise ValueError("a price belongs to what is listed, and to nothing else")
        return self


class _Answer(BaseModel):
    prices: list[Listing]


class _NoAnswer(Exception):
    """It answered, and not what was asked."""


class ProductClient:
    """The one call that placing needs: one for all orders that wait for it at the same time."""

    def __init__(
        self, base_url: str, registry: CollectorRegistry, policy: ClientPolicy = POLICY
    ) -> None:
        self._http = ResilientClient(base_url, "product", registry=registry, policy=policy)
        self._together = GatheredAnswers(self._look_up_together, MOST)

    async def close(self) -> None:
        await self._http.aclose()

    async def ping(self) -> None:
        await self._http.request("GET", "/health", deadline=Deadline.after(1.0))

    async def listings(
        self, product_ids: Collection[str], deadline: Deadline
    ) -> dict[str, Listing]:
        """What the catalogue says of each product; at most 100 of them.

        Raises:
            CatalogueUnavailable: no answer, or none that speaks of every product.
        """
        try:
            return await self._told(product_ids, deadline)
        except UpstreamUnavailable as error:
            raise CatalogueUnavailable(
                CatalogueUnavailable.example, retry_after=error.retry_after or 1.0
            ) from error
        except (TimeoutError, _NoAnswer) as error:
            raise CatalogueUnavailable(CatalogueUnavailable.example) from error

    async def _told(self, product_ids: Collection[str], deadline: Deadline) -> dict[str, Listing]:
        try:
            found = await self._together.answers(product_ids, deadline.remaining())
        except (UpstreamUnavailable, _NoAnswer) as error:
            if _is_about_all(error):
                raise
            return await self._look_up(product_ids, deadline)  # somebody else's may be at fault
        return {one: found[one] for one in product_ids}

    async def _look_up_together(self, product_ids: Collection[str]) -> dict[str, Listing]:
        return await self._look_up(product_ids, Deadline.after(POLICY.total_timeout))

    async def _look_up(
        self, product_ids: Collection[str], deadline: Deadline
    ) -> dict[str, Listing]:
        reply = await self._http.request(
            "POST",
            "/api/products/prices",
            json={"product_ids": list(product_ids)},
            idempotent=True,
            deadline=deadline,
        )
        try:
            answer = _Answer.model_validate(reply.json() if reply.status == 200 else None)
        except ValidationError as error:
            raise _NoAnswer from error
        told = {listing.product_id: listing for listing in answer.prices}
        if not told.keys() >= set(product_ids):
            raise _NoAnswer
        return told


def _is_about_all(error: UpstreamUnavailable | _NoAnswer) -> bool:
    """Whether the catalogue is away, rather than at a loss with a product."""
    if isinstance(error, _NoAnswer):
        return False
    return error.status is None or error.status in RETRIED_STATUSES
