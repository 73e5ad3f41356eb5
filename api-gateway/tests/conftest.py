"""Fixtures of the integration tests: a scripted upstream, an identity provider, a gateway."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import hypothesis
import pytest

from app.config import Settings
from tests.fakes import FakeProvider, FakeUpstream
from tests.gateways import SCRAPE_TOKEN, Gateway, serving

hypothesis.settings.register_profile("suite", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("suite")
pytest_plugins = ["fleet.testing.fixtures"]

_AREAS = ("product", "order", "inventory", "ai")
MakeSettings = Callable[..., Settings]
MakeGateway = Callable[..., Gateway]


@pytest.fixture(autouse=True, scope="session")
def _settings_of_the_tests_alone() -> None:
    """Ignore the environment of the shell that started pytest."""
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)


@pytest.fixture(autouse=True)
async def _connections_end_with_the_test() -> AsyncIterator[None]:
    yield
    while Gateway.connections:
        writer = Gateway.connections.pop()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider().serve() as fake:
        yield fake


@pytest.fixture(scope="session")
def _upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream().serve() as fake:
        yield fake


@pytest.fixture
def upstream(_upstream: FakeUpstream) -> FakeUpstream:
    """Stand in for all four services; return 200 unless the test sets another script."""
    _upstream.reset()
    return _upstream


@pytest.fixture(scope="session")
def settings_of(provider: FakeProvider, _upstream: FakeUpstream) -> MakeSettings:
    """Return settings with `upstream` as every service and limits too high to be reached."""

    def make(**changes: Any) -> Settings:
        urls = {f"{area}_service_url": _upstream.url for area in _AREAS}
        usual = {
            "environment": "test",
            "log_level": "ERROR",
            "oidc_jwks_url": provider.jwks_url,
            "rate_limit_default": "1000000/minute",
            "rate_limit_ai": "1000000/minute",
            "metrics_token": SCRAPE_TOKEN,
        }
        return Settings(**(urls | usual | changes))

    return make


@pytest.fixture(scope="session")
def _gateway(settings_of: MakeSettings) -> Iterator[Gateway]:
    with serving(settings_of(circuit_failures=1_000_000)) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway: Gateway, upstream: FakeUpstream) -> Gateway:
    """Return the shared gateway; its circuits never open."""
    return _gateway


@pytest.fixture
def gateway_of(settings_of: MakeSettings, upstream: FakeUpstream) -> Iterator[MakeGateway]:
    """Return a factory of gateways with changed settings."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(serving(settings_of(**changes)))
