"""inventory-service as order-service sees it. Transport trouble becomes a domain error here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from prometheus_client import CollectorRegistry
from pydantic import BaseModel, TypeAdapter, ValidationError

from app.errors import InventoryUnavailable, OutOfStock, ProductUnknown
from chassis.http_client.breaker import BreakerPolicy
from chassis.http_client.client import (
    ClientPolicy,
    Reply,
    ResilientClient,
    UpstreamUnavailable,
    segment,
)
from chassis.http_client.deadline import Deadline

REVERSED = "/problems/movement-reversed"

# Every call here is safe to repeat: a check reads, a reduction and its reverse carry the order's id
# as key. Retries are for dropped connections and restarts. A read may take most of the deadline and
# the circuit opens late and for short: a rush that makes inventory slow is no outage, and refusing
# everybody for seconds would make it one.
POLICY = ClientPolicy(
    read_timeout=2.0,
    pool_timeout=3.0,
    total_timeout=3.0,
    breaker=BreakerPolicy(failures_in_a_row=20, reset_timeout=2.0),
)


class Availability(BaseModel):
    """Inventory's answer to `check`; fields that are not used here are ignored."""

    in_stock: bool
    available_qty: int


class _Left(BaseModel):
    product_id: str
    available_qty: int


class _Problem(BaseModel):
    type: str
    detail: str


_reduced = TypeAdapter(list[_Left])

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Refused:
    """Inventory said no, for good.

    Attributes:
        problem: what the customer is told.
        maybe_taken: an earlier try of the same reduction went unanswered and may still run.
    """

    problem: OutOfStock | ProductUnknown
    maybe_taken: bool


class AlreadyReversed(Exception):
    """The reduction's key was reversed meanwhile: somebody else has ended this order."""


class InventoryClient:
    """The three calls that placing and cancelling need.

    Every method raises InventoryUnavailable when there was no answer to work with; whether the
    call ran is then not known.
    """

    def __init__(
        self, base_url: str, registry: CollectorRegistry, policy: ClientPolicy = POLICY
    ) -> None:
        self._http = ResilientClient(base_url, "inventory", registry=registry, policy=policy)

    async def close(self) -> None:
        await self._http.aclose()

    async def ping(self) -> None:
        await self._request("GET", "/health", deadline=Deadline.after(1.0))

    async def check(self, product_id: str, quantity: int, deadline: Deadline) -> Availability:
        """How much there is of a product. Advice only: another order may take it meanwhile.

        Raises:
            ProductUnknown: inventory has no such product.
        """
        path = f"/api/inventory/{segment(product_id)}/check"
        reply = await self._request("GET", path, params={"quantity": quantity}, deadline=deadline)
        if reply.status == 404:
            raise ProductUnknown(f"There is no stock of product {product_id}.")
        if reply.status != 200:
            raise InventoryUnavailable(InventoryUnavailable.example)
        return _parse(Availability, reply)

    async def reduce(
        self, order_id: UUID, pieces: Mapping[str, int], deadline: Deadline
    ) -> dict[str, int] | Refused:
        """Take all pieces or none, under the order's id.

        Returns:
            What is left of each product, as far as it was told: they are taken.

        Raises:
            AlreadyReversed: the order's key was reversed before.
        """
        items = [{"product_id": product, "quantity": count} for product, count in pieces.items()]
        reply = await self._request(
            "PATCH",
            "/api/inventory/reduce",
            json={"items": items},
            headers={"Idempotency-Key": str(order_id)},
            deadline=deadline,
        )
        if reply.status == 200:
            return _left(reply)
        problem = _parse(_Problem, reply)
        if reply.status == 409 and problem.type == REVERSED:
            raise AlreadyReversed
        maybe_taken = reply.unanswered_attempts > 0
        if reply.status == 400 and problem.detail.startswith("Insufficient stock"):
            return Refused(OutOfStock(problem.detail), maybe_taken)
        if reply.status == 404:
            return Refused(ProductUnknown(problem.detail), maybe_taken)
        raise InventoryUnavailable(InventoryUnavailable.example)

    async def reverse(self, order_id: UUID, deadline: Deadline) -> None:
        """Give back what the order's key took, or see to it that it can never take anything."""
        path = f"/api/inventory/movements/{order_id}/reverse"
        reply = await self._request("POST", path, idempotent=True, deadline=deadline)
        if reply.status != 200:
            raise InventoryUnavailable(InventoryUnavailable.example)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        deadline: Deadline,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
    ) -> Reply:
        try:
            return await self._http.request(
                method,
                path,
                params=params,
                json=json,
                headers=headers,
                idempotent=idempotent,
                deadline=deadline,
            )
        except UpstreamUnavailable as error:
            raise InventoryUnavailable(
                InventoryUnavailable.example, retry_after=error.retry_after or 1.0
            ) from error


def _left(reply: Reply) -> dict[str, int]:
    """The stock was taken whatever the answer's body says; what it says is advice."""
    try:
        items = _reduced.validate_json(reply.content)
    except ValidationError:
        return {}
    return {item.product_id: item.available_qty for item in items}


def _parse(model: type[T], reply: Reply) -> T:
    try:
        return model.model_validate_json(reply.content)
    except ValidationError as error:
        raise InventoryUnavailable(InventoryUnavailable.example) from error
