"""Parsing of the Authorization header, and settings; no keys needed."""

import pytest

from chassis.security.token_verifier import (
    AuthSettings,
    InvalidToken,
    TokenVerifier,
    UnverifiableToken,
    bearer_token,
)


def test_missing_header_yields_no_token() -> None:
    assert bearer_token([]) is None


@pytest.mark.parametrize("value", ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"])
def test_scheme_is_case_insensitive(value: str) -> None:
    assert bearer_token([value]) == "a.b.c"


@pytest.mark.parametrize(
    "values",
    [
        ["Bearer a.b.c", "Bearer a.b.c"],
        ["Bearer a.b.c", "Basic eA=="],
        ["Basic eA=="],
        [""],
        ["a.b.c"],
        [" Bearer a.b.c"],
        ["Bearer\ta.b.c"],
        ["BearerX a.b.c"],
    ],
)
def test_header_without_exactly_one_bearer_token_is_refused(values: list[str]) -> None:
    """Promise 39: several Authorization headers are a 401."""
    with pytest.raises(InvalidToken) as refused:
        bearer_token(values)
    assert refused.value.reason.endswith(".")


@pytest.mark.parametrize(
    "value",
    [
        *("Bearer", "Bearer ", "Bearer a.b.c d", "Bearer a.b.c, Bearer d.e.f", "Bearer a.b.c\n"),
        *("Bearer ä.b.c", "Bearer a.b.c=", "Bearer a.b", "Bearer a.b.c.d", "Bearer \ud800.b.c"),
    ],
)
async def test_malformed_token_is_refused_without_fetching_keys(value: str) -> None:
    verifier = TokenVerifier(AuthSettings(oidc_jwks_url="http://127.0.0.1:1/certs"))
    with pytest.raises(InvalidToken, match="base64url") as refused:
        await verifier.verify(bearer_token([value]) or "")
    assert not isinstance(refused.value, UnverifiableToken)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_ISSUER", "https://id.example/realms/shop")
    monkeypatch.setenv("OIDC_JWKS_URL", "http://keycloak:8080/realms/shop/certs")
    monkeypatch.setenv("OIDC_ALLOWED_CLIENTS", "storefront, admin-console")
    settings = AuthSettings()
    assert settings.oidc_issuer == "https://id.example/realms/shop"
    assert settings.oidc_jwks_url == "http://keycloak:8080/realms/shop/certs"
    assert settings.oidc_allowed_clients == {"storefront", "admin-console"}
    assert settings.oidc_audience == "ecommerce-api"


def test_empty_list_of_clients_allows_any_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_ALLOWED_CLIENTS", "")
    assert AuthSettings().oidc_allowed_clients == frozenset()
