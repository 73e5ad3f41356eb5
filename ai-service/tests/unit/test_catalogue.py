"""The catalogue in memory: fresh, bounded in age, and never half."""

import hashlib
import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.clients.catalogue_client import Reading, products_of
from app.config import Settings
from app.retrieval.language import Languages
from app.services.catalogue import CatalogueAway, LiveCatalogue
from chassis.http_client.client import Reason, UpstreamUnavailable
from tests.samples import row


class Shelf:
    """A reader of a catalogue that the test holds in its hands."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.down = False

    async def ping(self) -> None:
        if self.down:
            raise UpstreamUnavailable("product-service", Reason.CONNECTION)

    async def read(self) -> Reading:
        await self.ping()
        digest = hashlib.sha256(json.dumps(self.rows).encode()).digest()
        return Reading(digest, tuple(self.rows))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def live(shelf: Shelf, languages: Languages, clock: Clock) -> LiveCatalogue:
    settings = Settings(catalogue_max_age_seconds=60)
    return LiveCatalogue(shelf, languages, CollectorRegistry(), settings, clock)


async def test_what_was_never_read_is_not_known(languages: Languages) -> None:
    catalogue = live(Shelf(), languages, Clock())
    assert catalogue.current() is None
    with pytest.raises(CatalogueAway):
        await catalogue.probe()


async def test_what_is_too_old_is_not_known_any_more(languages: Languages) -> None:
    shelf, clock = Shelf(row(1)), Clock()
    catalogue = live(shelf, languages, clock)
    await catalogue.refresh()
    shelf.down = True
    clock.now += 59
    with pytest.raises(UpstreamUnavailable):
        await catalogue.refresh()
    assert catalogue.current() is not None
    clock.now += 2
    assert catalogue.current() is None


async def test_reading_the_same_again_builds_nothing_and_makes_it_young(
    languages: Languages,
) -> None:
    clock = Clock()
    catalogue = live(Shelf(row(1)), languages, clock)
    await catalogue.refresh()
    index = catalogue.current()
    clock.now += 50
    await catalogue.refresh()
    clock.now += 50
    assert catalogue.current() is index


async def test_a_product_that_changed_or_went_is_seen_at_the_next_reading(
    languages: Languages,
) -> None:
    shelf = Shelf(row(1), row(2))
    catalogue = live(shelf, languages, Clock())
    await catalogue.refresh()
    shelf.rows = [row(1, price=99.5)]
    await catalogue.refresh()
    index = catalogue.current()
    assert index is not None
    assert [(product.id, float(product.price)) for product in index.products] == [
        (row(1)["id"], 99.5)
    ]


def test_a_broken_product_costs_itself_alone() -> None:
    rows = (row(1), row(2, price="free"), row(3, name=None), row(1, name="again"), row(4))
    assert [product.name for product in products_of(rows)] == ["again", "Thing 4"]
