"""One fleet for all tests. A test that stops a part of it must start it again."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.compose_stack import ComposeStack
from tests.fleet_under_test import Fleet, Shop

pytest_plugins = ["fleet.testing.fixtures"]

ON_DOCKER = os.environ.get("E2E_TARGET") == "compose"
collect_ignore = [] if ON_DOCKER else ["compose"]  # make e2e TARGET=compose


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    fleet = ComposeStack() if ON_DOCKER else Fleet()
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
