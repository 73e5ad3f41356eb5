"""The identity provider under test: the embedded one, or the Keycloak at TEST_KEYCLOAK_URL."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from fleet.clients.identity import IdentityProvider

Ask = Callable[..., httpx2.Response]


@pytest.fixture(scope="session")
def provider(identity_server: IdentityProvider) -> IdentityProvider:
    """The identity provider. If it does not answer, stop with one message for all tests."""
    try:
        document = f"{identity_server.issuer}/.well-known/openid-configuration"
        httpx2.get(document, timeout=30).raise_for_status()
    except httpx2.HTTPError as error:
        pytest.exit(f"No realm answers at {identity_server.issuer}: {error}", returncode=1)
    return identity_server


@pytest.fixture(scope="session")
def ask(provider: IdentityProvider) -> Ask:
    """Return a function that posts a form to an endpoint: `ask("token", grant_type=...)`."""

    def send(path: str, headers: dict[str, str] | None = None, **form: str) -> httpx2.Response:
        url = f"{provider.endpoints}/{path}"
        return httpx2.post(url, data=form, headers=headers, timeout=30)

    return send


@pytest.fixture(scope="session")
def alice(ask: Ask) -> dict[str, Any]:
    """A session of Alice with all three tokens, for tests that do not end it."""
    return logged_in(ask)


def logged_in(ask: Ask) -> dict[str, Any]:
    """Return a new session of Alice."""
    answer = ask(
        "token",
        grant_type="password",
        client_id="storefront",
        username="alice",
        password="alice",
        scope="openid",
    )
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens
