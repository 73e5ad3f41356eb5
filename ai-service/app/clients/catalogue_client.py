"""Client of product-service: read the whole catalogue, page by page."""

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

_PAGE_SIZE = 100
_MAX_READS = 3
POLICY = ClientPolicy(
    total_timeout=5.0,
    max_connections=4,
    retry=RetryPolicy(attempts=2, backoff=0.1, backoff_max=1.0),
    breaker=BreakerPolicy(reset_timeout=2.0),
)


@dataclass(frozen=True, slots=True)
class CatalogueSnapshot:
    """Result of one catalogue read.

    Attributes:
        fingerprint: hash of the content; the index is rebuilt only when it changes.
        rows: products as JSON, not validated yet.
    """

    fingerprint: bytes
    rows: tuple[Any, ...]


class CatalogueClient:
    """Read the catalogue. Raises UpstreamUnavailable if there is no valid answer."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        url = settings.product_service_url
        self._http = ResilientClient(url, "product-service", registry=registry, policy=POLICY)
        self._max_pages = -(-settings.catalogue_max_products // _PAGE_SIZE)

    async def close(self) -> None:
        await self._http.aclose()

    async def ping(self) -> None:
        """Return if product-service answers (for readiness)."""
        await self._http.request("GET", "/health", deadline=Deadline.after(1.0))

    async def read(self) -> CatalogueSnapshot:
        """Return all products, oldest first.

        A product created during the read is last and moves no other. A product deleted during the
        read moves later ones to an earlier page, where they would be missed: the total changes,
        and the catalogue is read again.
        """
        for _ in range(_MAX_READS):
            snapshot, totals = await self._read_once()
            expected = min(max(totals), self._max_pages * _PAGE_SIZE)
            if len(totals) == 1 and len({row["id"] for row in snapshot.rows}) == expected:
                break
        return snapshot

    async def _read_once(self) -> tuple[CatalogueSnapshot, set[int]]:
        """Read all pages once. Return the snapshot and the totals that the pages reported."""
        digest, rows, totals = hashlib.sha256(), list[Any](), set[int]()
        for number in range(1, self._max_pages + 1):
            page = await self._read_page(number)
            rows += page["products"]
            totals.add(page["total"])
            digest.update(page["digest"])
            if len(rows) >= page["total"] or not page["products"]:
                break
        return CatalogueSnapshot(digest.digest(), tuple(rows)), totals

    async def _read_page(self, number: int) -> dict[str, Any]:
        parameters: dict[str, str | int] = {
            "page": number,
            "page_size": _PAGE_SIZE,
            "sort": "created_at",
        }
        reply = await self._http.request("GET", "/api/products", params=parameters)
        page: Any = reply.json() if reply.status == 200 else None
        if not _is_page(page):
            raise _invalid_page(reply)
        return {**page, "digest": hashlib.sha256(reply.content).digest()}


def parse_products(rows: tuple[Any, ...]) -> list[Product]:
    """Return the rows as products without duplicates. Invalid rows are logged and skipped."""
    found: dict[str, Product] = {}
    for row in rows:
        try:
            product = Product.model_validate(row)
        except ValidationError as error:
            fields = sorted({str(item["loc"][0]) for item in error.errors() if item["loc"]})
            log.warning("invalid product skipped", extra={"fields": fields})
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


def _invalid_page(reply: Reply) -> UpstreamUnavailable:
    return UpstreamUnavailable(reply.target, Reason.BAD_ANSWER, reply.status)
