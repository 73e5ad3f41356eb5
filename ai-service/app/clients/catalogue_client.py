"""Client of product-service: read the whole catalogue once, and then its changes."""

import logging
from collections.abc import Iterable, Mapping
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
_CHANGES_PAGE_SIZE = 500
_MAX_READS = 3
POLICY = ClientPolicy(
    total_timeout=5.0,
    max_connections=4,
    retry=RetryPolicy(attempts=2, backoff=0.1, backoff_max=1.0),
    breaker=BreakerPolicy(reset_timeout=2.0),
)


@dataclass(frozen=True, slots=True)
class CatalogueSnapshot:
    """All products.

    Attributes:
        rows: products as JSON, not validated yet, the oldest first.
        cursor: where the changes after this read begin; None if product-service is of a release
            that does not list changes.
    """

    rows: tuple[Any, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class CatalogueChanges:
    """Products that have changed.

    Attributes:
        rows: product id → the product as JSON, None if it was deleted.
        cursor: where the next changes begin.
    """

    rows: Mapping[str, Any]
    cursor: str


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
        cursor = await self._present()
        for _ in range(_MAX_READS):
            rows, totals = await self._read_once()
            expected = min(max(totals), self._max_pages * _PAGE_SIZE)
            if len(totals) == 1 and len({row["id"] for row in rows}) == expected:
                break
        return CatalogueSnapshot(tuple(rows), cursor)

    async def changes(self, cursor: str) -> CatalogueChanges:
        """Return what has changed since a position."""
        rows: dict[str, Any] = {}
        complete = False
        while not complete:
            page = await self._changes_page(after=cursor)
            if page is None:
                raise UpstreamUnavailable("product-service", Reason.BAD_ANSWER)
            rows |= {change["product_id"]: change["product"] for change in page["changes"]}
            cursor, complete = page["cursor"], page["complete"]
        return CatalogueChanges(rows, cursor)

    async def _present(self) -> str | None:
        """Return the position of the present in the list of changes; None if there is no list."""
        page = await self._changes_page(after="now")
        return None if page is None else str(page["cursor"])

    async def _changes_page(self, *, after: str) -> dict[str, Any] | None:
        """Return a page of changes; None if product-service does not list changes."""
        parameters: dict[str, str | int] = {"after": after, "limit": _CHANGES_PAGE_SIZE}
        reply = await self._http.request("GET", "/api/products/changes", params=parameters)
        if reply.status in (400, 404) and after == "now":
            return None
        page: Any = reply.json() if reply.status == 200 else None
        if not _is_changes_page(page):
            raise _invalid_page(reply)
        found: dict[str, Any] = page
        return found

    async def _read_once(self) -> tuple[list[Any], set[int]]:
        """Read all pages once. Return the products and the totals that the pages reported."""
        rows, totals = list[Any](), set[int]()
        for number in range(1, self._max_pages + 1):
            page = await self._read_page(number)
            rows += page["products"]
            totals.add(page["total"])
            if len(rows) >= page["total"] or not page["products"]:
                break
        return rows, totals

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
        found: dict[str, Any] = page
        return found


def parse_products(rows: Iterable[Any]) -> list[Product]:
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


def _is_changes_page(page: Any) -> bool:
    return (
        isinstance(page, dict)
        and isinstance(page.get("cursor"), str)
        and isinstance(page.get("complete"), bool)
        and isinstance(page.get("changes"), list)
        and all(
            isinstance(row, dict) and isinstance(row.get("product_id"), str) and "product" in row
            for row in page["changes"]
        )
    )


def _invalid_page(reply: Reply) -> UpstreamUnavailable:
    return UpstreamUnavailable(reply.target, Reason.BAD_ANSWER, reply.status)
