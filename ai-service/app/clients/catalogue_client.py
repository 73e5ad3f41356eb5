"""product-service as this service sees it: the whole catalogue, page by page."""

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from app.config import Settings
from app.schemas.product import Product
from chassis.http_client.breaker import BreakerPolicy
from chassis.http_client.client import (
    ClientPolicy,
    Deadline,
    Reason,
    Reply,
    ResilientClient,
    RetryPolicy,
    UpstreamUnavailable,
)

log = logging.getLogger(__name__)

_PAGE = 100
_READINGS = 3
POLICY = ClientPolicy(
    total_timeout=5.0,
    max_connections=4,
    retry=RetryPolicy(attempts=2, backoff=0.1, backoff_max=1.0),
    breaker=BreakerPolicy(reset_timeout=2.0),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The catalogue as it was read.

    Attributes:
        fingerprint: the same for the same content; nothing has to be built again then.
        rows: products as JSON, not checked yet.
    """

    fingerprint: bytes
    rows: tuple[Any, ...]


class CatalogueClient:
    """Reads the catalogue. Raises UpstreamUnavailable when there was no answer to work with."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        url = settings.product_service_url
        self._http = ResilientClient(url, "product-service", registry=registry, policy=POLICY)
        self._max_pages = -(-settings.catalogue_max_products // _PAGE)

    async def close(self) -> None:
        await self._http.aclose()

    async def ping(self) -> None:
        """For readiness: return when product-service answers."""
        await self._http.request("GET", "/health", deadline=Deadline.after(1.0))

    async def read(self) -> Reading:
        """All products, oldest first: one that is created meanwhile comes last and shifts nobody.

        One that is deleted meanwhile shifts others over a page's edge; the count tells, and the
        catalogue is read once more.
        """
        for _ in range(_READINGS):
            reading, totals = await self._read_once()
            expected = min(max(totals), self._max_pages * _PAGE)
            if len(totals) == 1 and len({row["id"] for row in reading.rows}) == expected:
                break
        return reading

    async def _read_once(self) -> tuple[Reading, set[int]]:
        """One reading, and the counts that its pages told: one, if nothing changed meanwhile."""
        digest, rows, totals = hashlib.sha256(), list[Any](), set[int]()
        for number in range(1, self._max_pages + 1):
            page = await self._read_page(number)
            rows += page["products"]
            totals.add(page["total"])
            digest.update(page["digest"])
            if len(rows) >= page["total"] or not page["products"]:
                break
        return Reading(digest.digest(), tuple(rows)), totals

    async def _read_page(self, number: int) -> dict[str, Any]:
        parameters: dict[str, str | int] = {
            "page": number,
            "page_size": _PAGE,
            "sort": "created_at",
        }
        reply = await self._http.request("GET", "/api/products", params=parameters)
        page: Any = reply.json() if reply.status == 200 else None
        if not _is_page(page):
            raise _broken(reply)
        return {**page, "digest": hashlib.sha256(reply.content).digest()}


def products_of(rows: tuple[Any, ...]) -> list[Product]:
    """The rows as products, each once; a broken one costs itself, not the catalogue."""
    found: dict[str, Product] = {}
    for row in rows:
        try:
            product = Product.model_validate(row)
        except ValidationError as error:
            fields = sorted({str(item["loc"][0]) for item in error.errors() if item["loc"]})
            log.warning("a product cannot be read", extra={"fields": fields})
        else:
            found[product.id] = product
    return list(found.values())


def _is_page(page: Any) -> bool:
    return (
        isinstance(page, dict)
        and isinstance(page.get("total"), int)
        and isinstance(page.get("products"), list)
        and all(isinstance(row, dict) and "id" in row for row in page["products"])
    )


def _broken(reply: Reply) -> UpstreamUnavailable:
    return UpstreamUnavailable(reply.target, Reason.BAD_ANSWER, reply.status)
