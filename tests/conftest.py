"""One fleet for all tests here; a test that breaks a part of it puts it right again."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fleet_under_test import Fleet, Shop

pytest_plugins = ["fleet.testing"]


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    try:
        fleet("up")
        yield fleet
    finally:
        fleet.remove()


@pytest.fixture(scope="session")
async def shop(fleet: Fleet) -> AsyncIterator[Shop]:
    shop = Shop(fleet)
    yield shop
    await shop.http.aclose()
