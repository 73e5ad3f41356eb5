"""The token endpoint: four grant types, with Keycloak's error descriptions."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from fleet.emulators.identity.provider import Provider
from fleet.emulators.identity.realm import Client, User, same
from fleet.emulators.identity.tokens import Grant, granted_scope, token_answer
from fleet.emulators.identity.wire import Refused

Form = Mapping[str, str]

WELL_FORMED = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""A code verifier or a code challenge (RFC 7636)."""

_WRONG_CLIENT = "Invalid client or Invalid client credentials"
_WRONG_USER = "Invalid user credentials"


def client_of(provider: Provider, form: Form) -> Client:
    """Authenticate the client of a request."""
    client = provider.realm.clients.get(form.get("client_id", ""))
    if client is None:
        raise Refused(401, "invalid_client", _WRONG_CLIENT)
    if client.secret is not None and not (
        client.secret and same(client.secret, form.get("client_secret", ""))
    ):
        raise Refused(401, "unauthorized_client", _WRONG_CLIENT)
    return client


def check_grant_type(form: Form) -> None:
    """Refuse an unsupported grant type before the client is authenticated."""
    if "grant_type" not in form:
        raise Refused(400, "invalid_request", "Missing form parameter: grant_type")
    if form["grant_type"] not in _GRANTS:
        raise Refused(400, "unsupported_grant_type", "Unsupported grant_type")


def tokens(provider: Provider, client: Client, form: Form) -> dict[str, Any]:
    """Issue tokens for a request whose grant type has been checked."""
    grant = _GRANTS[form["grant_type"]](provider, client, form)
    if grant.session is not None:
        provider.sessions.use(grant.session)
    return token_answer(provider, grant)


def authenticated(provider: Provider, login: str, password: str) -> User:
    """Authenticate a user by user name or e-mail address and password."""
    user = provider.realm.user(login)
    if user is None or user.password is None or not same(user.password, password):
        raise Refused(400, "invalid_grant", _WRONG_USER)
    if not user.enabled:
        raise Refused(400, "invalid_grant", "Account disabled")
    if not user.complete:
        raise Refused(400, "invalid_grant", "Account is not fully set up")
    return user


def _password(provider: Provider, client: Client, form: Form) -> Grant:
    if not client.direct_grants:
        detail = "Client not allowed for direct access grants"
        raise Refused(400, "unauthorized_client", detail)
    if "username" not in form:
        raise Refused(401, "invalid_request", "Missing parameter: username")
    scope = granted_scope(form.get("scope", ""))
    user = authenticated(provider, form["username"], form.get("password", ""))
    return Grant(client, user, scope, "onrtro", provider.sessions.begin(user))


def _authorization_code(provider: Provider, client: Client, form: Form) -> Grant:
    if "code" not in form:
        raise Refused(400, "invalid_request", "Missing parameter: code")
    if (stolen := provider.codes.used(form["code"])) is not None:
        provider.sessions.end(stolen.session_id)
    code = provider.codes.redeem(form["code"])
    session = provider.sessions.find(code.session_id) if code else None
    if code is None or session is None or code.client_id != client.id:
        raise Refused(400, "invalid_grant", "Code not valid")
    if code.redirect_uri != form.get("redirect_uri"):
        raise Refused(400, "invalid_grant", "Incorrect redirect_uri")
    if "code_verifier" not in form:
        raise Refused(400, "invalid_grant", "PKCE code verifier not specified")
    if not WELL_FORMED.fullmatch(form["code_verifier"]):
        raise Refused(400, "invalid_grant", "PKCE verification failed: Invalid code verifier")
    if not same(code.challenge, _s256(form["code_verifier"])):
        raise Refused(400, "invalid_grant", "PKCE verification failed: Code mismatch")
    return Grant(
        client,
        session.user,
        code.scope,
        "onrtac",
        session,
        by_browser=True,
        from_cookie=code.from_cookie,
        nonce=code.nonce,
    )


def _refresh_token(provider: Provider, client: Client, form: Form) -> Grant:
    claims = refresh_claims(provider, client, form)
    session = provider.sessions.find(claims["sid"])
    if session is None:
        raise Refused(400, "invalid_grant", "Session not active")
    if claims["exp"] < time.time():
        raise Refused(400, "invalid_grant", "Token is not active")
    return Grant(
        client,
        session.user,
        claims["scope"],
        "onrtrt",
        session,
        by_browser="auth_time" in claims,
        from_cookie=claims["acr"] == "0",
    )


def _client_credentials(provider: Provider, client: Client, form: Form) -> Grant:
    if client.secret is None:
        detail = "Public client not allowed to retrieve service account"
        raise Refused(401, "unauthorized_client", detail)
    user = provider.realm.service_user(client) if client.service_account else None
    if user is None:
        detail = "Client not enabled to retrieve service account"
        raise Refused(401, "unauthorized_client", detail)
    return Grant(client, user, granted_scope(form.get("scope", "")), "trrtcc", None)


def refresh_claims(provider: Provider, client: Client, form: Form) -> Mapping[str, Any]:
    """Return the claims of a form's refresh token, which must belong to the client."""
    if "refresh_token" not in form:
        raise Refused(400, "invalid_request", "No refresh token")
    claims = provider.keys.read_refresh(form["refresh_token"])
    if claims is None or claims.get("iss") != provider.issuer:
        raise Refused(400, "invalid_grant", "Invalid refresh token")
    if claims["azp"] != client.id:
        detail = "Invalid refresh token. Token client and authorized client don't match"
        raise Refused(400, "invalid_grant", detail)
    return claims


def _s256(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


_GRANTS: Mapping[str, Callable[[Provider, Client, Form], Grant]] = {
    "password": _password,
    "authorization_code": _authorization_code,
    "refresh_token": _refresh_token,
    "client_credentials": _client_credentials,
}
