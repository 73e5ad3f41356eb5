"""Refresh and maximum age of the in-memory catalogue."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.clients.catalogue_client import CatalogueChanges, CatalogueSnapshot, parse_products
from app.config import Settings
from app.retrieval.language import Languages
from app.services.catalogue import CatalogueUnavailable, LiveCatalogue
from chassis.http_client.client import Reason, UpstreamUnavailable
from tests.samples import row


class FakeReader:
    """Fake catalogue reader."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.down = False
        self._read: dict[str, dict[str, Any]] = {}

    async def ping(self) -> None:
        if self.down:
            raise UpstreamUnavailable("product-service", Reason.CONNECTION)

    async def read(self) -> CatalogueSnapshot:
        await self.ping()
        self._read = {row["id"]: row for row in self.rows}
        return CatalogueSnapshot(tuple(self.rows), "cursor")

    async def changes(self, cursor: str) -> CatalogueChanges:
        await self.ping()
        now = {row["id"]: row for row in self.rows}
        changed = {one: row for one, row in now.items() if self._read.get(one) != row}
        deleted = dict.fromkeys(self._read.keys() - now.keys())
        self._read = now
        return CatalogueChanges(changed | deleted, cursor)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def live(reader: FakeReader, languages: Languages, clock: Clock) -> LiveCatalogue:
    settings = Settings(catalogue_max_age_seconds=60)
    return LiveCatalogue(reader, languages, CollectorRegistry(), settings, clock)


async def test_current_before_first_read_returns_none(languages: Languages) -> None:
    catalogue = live(FakeReader(), languages, Clock())
    assert catalogue.current() is None
    with pytest.raises(CatalogueUnavailable):
        await catalogue.probe()


async def test_current_after_max_age_returns_none(languages: Languages) -> None:
    reader, clock = FakeReader(row(1)), Clock()
    catalogue = live(reader, languages, clock)
    await catalogue.refresh()
    reader.down = True
    clock.now += 59
    with pytest.raises(UpstreamUnavailable):
        await catalogue.refresh()
    assert catalogue.current() is not None
    clock.now += 2
    assert catalogue.current() is None


async def test_refresh_with_unchanged_catalogue_keeps_index_and_resets_age(
    languages: Languages,
) -> None:
    clock = Clock()
    catalogue = live(FakeReader(row(1)), languages, clock)
    await catalogue.refresh()
    index = catalogue.current()
    clock.now += 50
    await catalogue.refresh()
    clock.now += 50
    assert catalogue.current() is index


async def test_refresh_with_changed_or_deleted_product_updates_index(
    languages: Languages,
) -> None:
    reader = FakeReader(row(1), row(2))
    catalogue = live(reader, languages, Clock())
    await catalogue.refresh()
    reader.rows = [row(1, price=99.5)]
    await catalogue.refresh()
    index = catalogue.current()
    assert index is not None
    assert [(product.id, float(product.price)) for product in index.products] == [
        (row(1)["id"], 99.5)
    ]


async def test_changed_product_keeps_its_place_and_the_catalogue_its_limit(
    languages: Languages,
) -> None:
    reader = FakeReader(row(1), row(2))
    settings = Settings(catalogue_max_products=3)
    catalogue = LiveCatalogue(reader, languages, CollectorRegistry(), settings, Clock())
    await catalogue.refresh()
    reader.rows = [row(1, price=99.5), row(2), row(3), row(4)]
    await catalogue.refresh()
    index = catalogue.current()
    assert index is not None
    assert [product.id for product in index.products] == [row(n)["id"] for n in (1, 2, 3)]


def test_parse_products_skips_only_invalid_rows() -> None:
    rows = (row(1), row(2, price="free"), row(3, name=None), row(1, name="again"), row(4))
    assert [product.name for product in parse_products(rows)] == ["again", "Thing 4"]
