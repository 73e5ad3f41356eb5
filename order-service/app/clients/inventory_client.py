"""Client of inventory-service. It turns transport errors into domain errors."""

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ValidationError

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
INSUFFICIENT = "/problems/insufficient-stock"
UNKNOWN = "/problems/unknown-product"

# Every call is safe to repeat: a check only reads, and a reduction and its reversal carry the
# order's id as key. Reads may take most of the deadline, and the circuit opens late and briefly: a
# rush that slows inventory down is no outage, and refusing all orders would make it one (ADR 1).
POLICY = ClientPolicy(
    read_timeout=2.0,
    pool_timeout=3.0,
    total_timeout=3.0,
    breaker=BreakerPolicy(failures_in_a_row=20, reset_timeout=2.0),
)


class Availability(BaseModel):
    """Response to `check`. Other fields are ignored."""

    in_stock: bool
    available_qty: int


class _Problem(BaseModel):
    type: str
    detail: str


T = TypeVar("T", bound=BaseModel)


class ReductionRefused(Exception):
    """Inventory refused a reduction.

    Attributes:
        problem: the response to the customer.
        maybe_reduced: an earlier attempt of the same reduction was not answered and may still run.
    """

    def __init__(self, problem: OutOfStock | ProductUnknown, *, maybe_reduced: bool) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.maybe_reduced = maybe_reduced


class ReductionReversed(Exception):
    """The reduction's key was reversed before: another process has cancelled the order."""


class InventoryClient:
    """Checks, reduces and returns stock.

    Every method raises InventoryUnavailable if there was no usable response. Whether the call ran
    is then unknown.
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
        """Return the stock of a product. Another order may take it before this one does.

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

    async def reduce(self, order_id: UUID, pieces: Mapping[str, int], deadline: Deadline) -> None:
        """Take all pieces or none. The order's id is the idempotency key.

        Raises:
            ReductionRefused: a product is unknown or short; nothing was taken by this attempt.
            ReductionReversed: the key was reversed before.
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
            return
        problem = _parse(_Problem, reply)
        if reply.status == 409 and problem.type == REVERSED:
            raise ReductionReversed
        maybe_reduced = reply.unanswered_attempts > 0
        if reply.status == 400 and problem.type == INSUFFICIENT:
            raise ReductionRefused(OutOfStock(problem.detail), maybe_reduced=maybe_reduced)
        if reply.status == 404 and problem.type == UNKNOWN:
            raise ReductionRefused(ProductUnknown(problem.detail), maybe_reduced=maybe_reduced)
        raise InventoryUnavailable(InventoryUnavailable.example)

    async def reverse(self, order_id: UUID, deadline: Deadline) -> None:
        """Return what the order's key took. A reduction with this key is refused from then on."""
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


def _parse(model: type[T], reply: Reply) -> T:
    try:
        return model.model_validate_json(reply.content)
    except ValidationError as error:
        raise InventoryUnavailable(InventoryUnavailable.example) from error
