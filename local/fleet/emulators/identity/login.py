"""The browser flow: authorization request, login form, redirect with a code, logout.

The server stores no state between the form and its submission. The form carries the authorization
request, which is validated again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi.responses import RedirectResponse, Response

from fleet.emulators.identity.grants import WELL_FORMED, authenticated
from fleet.emulators.identity.pages import error_page, logged_out_page, login_page, logout_page
from fleet.emulators.identity.provider import Provider
from fleet.emulators.identity.realm import Client
from fleet.emulators.identity.sessions import Code, Session
from fleet.emulators.identity.tokens import granted_scope
from fleet.emulators.identity.wire import Refused

COOKIE = "KEYCLOAK_IDENTITY"

_IMPLICIT = {"code", "token", "id_token"}
_NOT_ALLOWED = (
    "Client is not allowed to initiate browser login with given response_type. "
    "{} flow is disabled for the client."
)

Fields = Mapping[str, str]


@dataclass(frozen=True)
class _Request:
    """An authorization request whose redirect URI belongs to its client."""

    provider: Provider
    client: Client
    redirect_uri: str
    fields: Fields

    def back(self, answer: Mapping[str, str], *, in_fragment: bool = False) -> Response:
        """Redirect the browser to the client with a response."""
        known = {"state": self.fields["state"]} if "state" in self.fields else {}
        query = urlencode({**answer, **known, "iss": self.provider.issuer})
        if in_fragment or self.fields.get("response_mode") == "fragment":
            sign = "#"
        else:
            sign = "&" if "?" in self.redirect_uri else "?"
        return RedirectResponse(f"{self.redirect_uri}{sign}{query}", status_code=302)

    def refuse(self, error: str, description: str = "", *, in_fragment: bool = False) -> Response:
        """Redirect the browser to the client with an error."""
        detail = {"error_description": description} if description else {}
        return self.back({"error": error, **detail}, in_fragment=in_fragment)


def begin(provider: Provider, fields: Fields, cookie: str | None) -> Response:
    """Show the login form, or redirect immediately if the browser has a session."""
    request = _recognise(provider, fields)
    if isinstance(request, Response):
        return request
    if (refusal := _refusal(request)) is not None:
        return refusal
    session = provider.sessions.of_cookie(cookie)
    if session is not None and fields.get("prompt") != "login":
        return _grant(request, session, from_cookie=True)
    if fields.get("prompt") == "none":
        return request.refuse("login_required")
    return login_page(provider.realm, _action(request), fields.get("login_hint", ""))


def authenticate(provider: Provider, fields: Fields, form: Fields) -> Response:
    """Handle the submitted form: redirect with a code and set the cookie, or show it again."""
    request = _recognise(provider, fields)
    if isinstance(request, Response):
        return request
    if (refusal := _refusal(request)) is not None:
        return refusal
    username = form.get("username", "")
    try:
        user = authenticated(provider, username, form.get("password", ""))
    except Refused:
        return login_page(provider.realm, _action(request), username, failed=True)
    session = provider.sessions.begin(user)
    response = _grant(request, session, from_cookie=False)
    # Lax suffices for top-level navigation; Keycloak's cookies are Secure; SameSite=None.
    path = f"{provider.path}/"
    response.set_cookie(COOKIE, session.cookie, path=path, httponly=True, samesite="lax")
    return response


def end(provider: Provider, fields: Fields, cookie: str | None) -> Response:
    """Log out with an ID token as hint; without one, ask for confirmation."""
    client_id, hint = fields.get("client_id"), fields.get("id_token_hint")
    if hint is None:
        if (refusal := _check_return(provider, client_id, fields)) is not None:
            return refusal
        if provider.sessions.of_cookie(cookie) is None:
            return _leave(provider, fields)
        action = f"{provider.endpoints}/logout?{urlencode(fields)}"
        return logout_page(provider.realm, action)
    claims = provider.keys.read(hint)
    if claims is None or claims.get("typ") != "ID" or client_id not in (None, claims["azp"]):
        return error_page(provider.realm, "Invalid parameter: id_token_hint")
    if (refusal := _check_return(provider, claims["azp"], fields)) is not None:
        return refusal
    provider.sessions.end(claims.get("sid", ""))
    return _leave(provider, fields)


def end_confirmed(provider: Provider, fields: Fields, cookie: str | None) -> Response:
    """Log out after the confirmation. Other sites' pages cannot send the cookie."""
    if (refusal := _check_return(provider, fields.get("client_id"), fields)) is not None:
        return refusal
    session = provider.sessions.of_cookie(cookie)
    if session is not None:
        provider.sessions.end(session.id)
    return _leave(provider, fields)


def _recognise(provider: Provider, fields: Fields) -> _Request | Response:
    """Validate client and redirect URI. Before that, an error must not redirect."""
    client = provider.realm.clients.get(fields.get("client_id", ""))
    if client is None:
        return error_page(provider.realm, "Client not found.")
    redirect_uri = fields.get("redirect_uri", "")
    if not client.may_return_to(redirect_uri):
        return error_page(provider.realm, "Invalid parameter: redirect_uri")
    return _Request(provider, client, redirect_uri, fields)


def _refusal(request: _Request) -> Response | None:
    """Return the error to redirect with, or None. PKCE with S256 is always required."""
    fields = request.fields
    response_type = fields.get("response_type")
    if response_type is None:
        return request.refuse("invalid_request", "Missing parameter: response_type")
    if response_type != "code":
        if _IMPLICIT.issuperset(response_type.split()) and response_type:
            detail = _NOT_ALLOWED.format("Implicit")
            return request.refuse("unauthorized_client", detail, in_fragment=True)
        return request.refuse("unsupported_response_type")
    if not request.client.standard_flow:
        return request.refuse("unauthorized_client", _NOT_ALLOWED.format("Standard"))
    if fields.get("response_mode", "query") not in ("query", "fragment"):
        return request.refuse("invalid_request", "Invalid parameter: response_mode")
    return _challenge_refusal(request) or _scope_refusal(request)


def _challenge_refusal(request: _Request) -> Response | None:
    method = request.fields.get("code_challenge_method")
    challenge = request.fields.get("code_challenge")
    wrong = ""
    if method is None:
        wrong = "Missing parameter: code_challenge_method"
    elif method != "S256":
        wrong = "Invalid parameter: code challenge method is not matching the configured one"
    elif challenge is None:
        wrong = "Missing parameter: code_challenge"
    elif not WELL_FORMED.fullmatch(challenge):
        wrong = "Invalid parameter: code_challenge"
    return request.refuse("invalid_request", wrong) if wrong else None


def _scope_refusal(request: _Request) -> Response | None:
    try:
        granted_scope(request.fields.get("scope", ""))
    except Refused as refused:
        return request.refuse(refused.error, refused.description)
    return None


def _grant(request: _Request, session: Session, *, from_cookie: bool) -> Response:
    provider, fields = request.provider, request.fields
    provider.sessions.use(session)
    code = Code(
        session_id=session.id,
        client_id=request.client.id,
        redirect_uri=request.redirect_uri,
        challenge=fields["code_challenge"],
        scope=granted_scope(fields.get("scope", "")),
        nonce=fields.get("nonce", ""),
        from_cookie=from_cookie,
        issued=provider.codes.now,
    )
    return request.back({"session_state": session.id, "code": provider.codes.issue(code)})


def _action(request: _Request) -> str:
    return f"{request.provider.issuer}/login-actions/authenticate?{urlencode(request.fields)}"


def _check_return(provider: Provider, client_id: str | None, fields: Fields) -> Response | None:
    """Refuse a redirect URI after logout that the client has not registered."""
    target = fields.get("post_logout_redirect_uri")
    if target is None:
        return None
    client = provider.realm.clients.get(client_id or "")
    if client is None:
        return error_page(provider.realm, "Missing parameters: id_token_hint")
    if not client.may_return_after_logout_to(target):
        return error_page(provider.realm, "Invalid redirect uri")
    return None


def _leave(provider: Provider, fields: Fields) -> Response:
    response = _goodbye(provider, fields)
    response.delete_cookie(COOKIE, path=f"{provider.path}/")
    return response


def _goodbye(provider: Provider, fields: Fields) -> Response:
    target = fields.get("post_logout_redirect_uri")
    if target is None:
        return logged_out_page(provider.realm)
    state = urlencode({"state": fields["state"]}) if "state" in fields else ""
    sign = ("&" if "?" in target else "?") if state else ""
    return RedirectResponse(f"{target}{sign}{state}", status_code=302)
