"""The public documents of the provider."""

from __future__ import annotations

from typing import Any

from fleet.emulators.identity.provider import Provider


def discovery(provider: Provider) -> dict[str, Any]:
    """Return the discovery document with the supported subset of Keycloak's."""
    base = provider.endpoints
    return {
        "issuer": provider.issuer,
        "authorization_endpoint": f"{base}/auth",
        "token_endpoint": f"{base}/token",
        "userinfo_endpoint": f"{base}/userinfo",
        "end_session_endpoint": f"{base}/logout",
        "jwks_uri": f"{base}/certs",
        "grant_types_supported": [
            "authorization_code",
            "client_credentials",
            "password",
            "refresh_token",
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment"],
        "subject_types_supported": ["public"],
        "prompt_values_supported": ["none", "login"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "roles", "web-origins", "acr", "basic"],
        "claims_supported": [
            *("iss", "sub", "aud", "exp", "iat", "auth_time", "acr", "azp", "nonce"),
            *("name", "given_name", "family_name", "preferred_username", "email"),
        ],
        "authorization_response_iss_parameter_supported": True,
    }


def realm_document(provider: Provider) -> dict[str, Any]:
    """Return the realm document."""
    return {
        "realm": provider.realm.name,
        "token-service": provider.endpoints,
        "tokens-not-before": 0,
    }
