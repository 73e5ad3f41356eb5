"""Claims of access, ID and refresh tokens, and the token response."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet.emulators.identity.provider import Provider
from fleet.emulators.identity.realm import Client, User
from fleet.emulators.identity.sessions import Session
from fleet.emulators.identity.wire import Refused

Claims = dict[str, Any]

_ALWAYS = ("profile", "email")
_SILENT = {"roles", "web-origins", "acr", "basic"}
"""Default scopes that the ``scope`` claim does not contain."""


@dataclass(frozen=True)
class Grant:
    """A granted request, from which all claims are derived."""

    client: Client
    user: User
    scope: str
    kind: str
    """Keycloak's prefix of ``jti`` for the grant type."""
    session: Session | None
    by_browser: bool = False
    from_cookie: bool = False
    nonce: str = ""


def granted_scope(requested: str) -> str:
    """Return the granted scope; refuse unsupported scopes."""
    names = requested.split()
    if "offline_access" in names:
        detail = "Offline tokens not allowed for the user or client"
        raise Refused(400, "not_allowed", detail)
    if not {"openid", *_ALWAYS, *_SILENT}.issuperset(names):
        raise Refused(400, "invalid_scope", f"Invalid scopes: {requested}")
    return " ".join([name for name in ("openid",) if name in names] + list(_ALWAYS))


def token_answer(provider: Provider, grant: Grant) -> Claims:
    """Return the token response."""
    now = int(time.time())
    access = provider.keys.sign(_access(provider, grant, now))
    answer: Claims = {
        "access_token": access,
        "expires_in": provider.realm.access_seconds,
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": grant.scope,
    }
    if grant.session is not None:
        left = grant.session.began + provider.realm.longest_seconds - now
        lives = max(1, min(provider.realm.idle_seconds, int(left)))
        answer["refresh_expires_in"] = lives
        answer["refresh_token"] = provider.keys.sign_refresh(_refresh(provider, grant, now, lives))
        answer["session_state"] = grant.session.id
    if "openid" in grant.scope.split():
        answer["id_token"] = provider.keys.sign(_id(provider, grant, now, access))
    return answer


def person(user: User) -> Claims:
    """Return the claims of the scopes ``profile`` and ``email``."""
    name = f"{user.first_name} {user.last_name}".strip()
    told = {
        "name": name,
        "preferred_username": user.username,
        "given_name": user.first_name,
        "family_name": user.last_name,
        "email": user.email,
    }
    return {"email_verified": user.email_verified, **{k: v for k, v in told.items() if v}}


def _access(provider: Provider, grant: Grant, now: int) -> Claims:
    audiences = grant.client.audiences
    claims = _common(provider, grant, now) | {
        "jti": f"{grant.kind}:{uuid.uuid4()}",
        "typ": "Bearer",
        "scope": grant.scope,
        **person(grant.user),
    }
    if audiences:  # as in Keycloak: a string for one, a list for several
        claims["aud"] = audiences[0] if len(audiences) == 1 else list(audiences)
    if grant.client.web_origins:
        claims["allowed-origins"] = list(grant.client.web_origins)
    if grant.user.roles:
        claims["realm_access"] = {"roles": list(grant.user.roles)}
    return claims


def _id(provider: Provider, grant: Grant, now: int, access: str) -> Claims:
    half = hashlib.sha256(access.encode()).digest()[:16]
    claims = _common(provider, grant, now) | {
        "aud": grant.client.id,
        "typ": "ID",
        "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
        **person(grant.user),
    }
    if grant.nonce:
        claims["nonce"] = grant.nonce
    return claims


def _refresh(provider: Provider, grant: Grant, now: int, lives: int) -> Claims:
    return _common(provider, grant, now) | {
        "exp": now + lives,
        "aud": provider.issuer,
        "typ": "Refresh",
        "scope": grant.scope,
    }


def _common(provider: Provider, grant: Grant, now: int) -> Claims:
    claims: Claims = {
        "exp": now + provider.realm.access_seconds,
        "iat": now,
        "jti": str(uuid.uuid4()),
        "iss": provider.issuer,
        "sub": grant.user.id,
        "azp": grant.client.id,
        "acr": "0" if grant.from_cookie else "1",
    }
    if grant.session is not None:
        claims["sid"] = grant.session.id
        if grant.by_browser:
            claims["auth_time"] = int(grant.session.began)
    return claims


def live_claims(provider: Provider, token: str) -> Mapping[str, Any] | None:
    """Return the claims of a valid access token of this realm, else None."""
    claims = provider.keys.read(token)
    if claims is None or claims.get("typ") != "Bearer" or claims.get("exp", 0) < time.time():
        return None
    return claims if claims.get("iss") == provider.issuer else None


def speaks_for(provider: Provider, client: Client, claims: Mapping[str, Any]) -> User | None:
    """Return the user of an access token while its session is active, else None."""
    if "sid" not in claims:
        return provider.realm.service_user(client)
    session = provider.sessions.find(claims["sid"])
    return session.user if session is not None else None
