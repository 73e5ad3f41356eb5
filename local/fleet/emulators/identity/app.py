"""The HTTP routes of the emulator, which are Keycloak's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from fleet.emulators.identity import login
from fleet.emulators.identity.discovery import discovery, realm_document
from fleet.emulators.identity.grants import check_grant_type, client_of, refresh_claims, tokens
from fleet.emulators.identity.pages import error_page, style
from fleet.emulators.identity.provider import Provider
from fleet.emulators.identity.realm import Client
from fleet.emulators.identity.tokens import live_claims, person, speaks_for
from fleet.emulators.identity.wire import Refused, form_of, query_of, with_basic_client

_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_PROTOCOL = "/protocol/openid-connect"

router = APIRouter()


def create_app(provider: Provider) -> FastAPI:
    """Build the app for one realm."""
    app = FastAPI(title="Identity", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.provider = provider
    app.include_router(router, prefix=provider.path)
    app.add_api_route("/resources/page.css", style, include_in_schema=False)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _no_such_page)
    return app


@router.get("")
async def realm(request: Request) -> Response:
    """Return the realm document."""
    return _public(request, realm_document(_provider(request)))


@router.get("/.well-known/openid-configuration")
async def configuration(request: Request) -> Response:
    """Return the discovery document."""
    return _public(request, discovery(_provider(request)))


@router.get(f"{_PROTOCOL}/certs")
async def certs(request: Request) -> Response:
    """Return the key set."""
    return _public(request, _provider(request).keys.public_set())


@router.options("/.well-known/openid-configuration")
@router.options(f"{_PROTOCOL}/certs")
@router.options(f"{_PROTOCOL}/token")
@router.options(f"{_PROTOCOL}/userinfo")
@router.options(f"{_PROTOCOL}/logout")
async def preflight(request: Request) -> Response:
    """Allow any origin, as Keycloak does. The request itself may still be refused."""
    headers = _cors(request) | {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, X-Requested-With",
        "Access-Control-Max-Age": "3600",
    }
    return Response(headers=headers)


@router.post(f"{_PROTOCOL}/token")
async def token(request: Request) -> Response:
    """Issue tokens for a password, a code, a refresh token, or a client."""
    provider = _provider(request)
    form = with_basic_client(await form_of(request), request.headers.get("authorization"))
    check_grant_type(form)
    request.state.cors = _cors(request)  # from here a web page may read the error
    client = client_of(provider, form)
    if not _is_from(request, client):
        return _foreign_origin()
    headers = _NOT_STORED | _cors(request)
    return JSONResponse(tokens(provider, client, form), headers=headers)


@router.api_route(f"{_PROTOCOL}/userinfo", methods=["GET", "POST"])
async def userinfo(request: Request) -> Response:
    """Return the user of an access token. Errors have no body."""
    provider = _provider(request)
    scheme, _, access = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return _challenge(request, 401)
    claims = live_claims(provider, access.strip())
    client = provider.realm.clients.get(claims["azp"]) if claims else None
    if claims is None or client is None:
        return _challenge(request, 401, "invalid_token", "Token verification failed")
    if not _is_from(request, client):
        return _foreign_origin()
    if "openid" not in claims["scope"].split():
        return _challenge(request, 403, "insufficient_scope", "Missing openid scope")
    user = speaks_for(provider, client, claims)
    if user is None:
        return _challenge(request, 401, "invalid_token", "user_session_not_found")
    headers = _NOT_STORED | _cors(request)
    return JSONResponse({"sub": user.id, **person(user)}, headers=headers)


@router.get(f"{_PROTOCOL}/auth")
async def auth(request: Request) -> Response:
    """Show the login form to a browser that a client has redirected."""
    provider = _provider(request)
    try:
        return login.begin(provider, query_of(request), request.cookies.get(login.COOKIE))
    except Refused as refused:
        return error_page(provider.realm, refused.description)


@router.post("/login-actions/authenticate")
async def authenticate(request: Request) -> Response:
    """Handle the submitted login form."""
    provider = _provider(request)
    try:
        return login.authenticate(provider, query_of(request), await form_of(request))
    except Refused as refused:
        return error_page(provider.realm, refused.description)


@router.get(f"{_PROTOCOL}/logout")
async def end_session(request: Request) -> Response:
    """Log out a browser that a client has redirected."""
    provider = _provider(request)
    try:
        return login.end(provider, query_of(request), request.cookies.get(login.COOKIE))
    except Refused as refused:
        return error_page(provider.realm, refused.description)


@router.post(f"{_PROTOCOL}/logout")
async def logout(request: Request) -> Response:
    """Log out by refresh token, or by cookie from the confirmation page."""
    provider = _provider(request)
    form = with_basic_client(await form_of(request), request.headers.get("authorization"))
    if "refresh_token" not in form:
        fields = query_of(request) | form
        return login.end_confirmed(provider, fields, request.cookies.get(login.COOKIE))
    client = client_of(provider, form)
    provider.sessions.end(refresh_claims(provider, client, form)["sid"])
    cors = _cors(request) if _is_from(request, client) else {}
    return Response(status_code=204, headers={"Cache-Control": "no-cache"} | cors)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for it
    body = {"error": error.error, "error_description": error.description}
    cors = getattr(request.state, "cors", {})
    return JSONResponse(body, error.status, _NOT_STORED | cors)


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    known = f"{_provider(request).path}/"
    path = request.url.path
    if path.startswith("/realms/") and not f"{path}/".startswith(known):
        return JSONResponse({"error": "Realm does not exist"}, 404)
    return JSONResponse({"error": f"HTTP {error.status_code} {error.detail}"}, error.status_code)


def _provider(request: Request) -> Provider:
    provider = request.app.state.provider
    assert isinstance(provider, Provider)  # noqa: S101 - create_app put it there
    return provider


def _is_from(request: Request, client: Client) -> bool:
    """Return whether a request has no origin or one of the client's web origins."""
    origin = request.headers.get("origin")
    return origin is None or origin in client.web_origins


def _cors(request: Request) -> dict[str, str]:
    origin = request.headers.get("origin")
    if origin is None:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


def _public(request: Request, document: dict[str, Any]) -> Response:
    return JSONResponse(document, headers={"Cache-Control": "no-cache"} | _cors(request))


def _foreign_origin() -> Response:
    return JSONResponse({"error": "Invalid origin"}, 403, _NOT_STORED)


def _challenge(request: Request, status: int, error: str = "", description: str = "") -> Response:
    said = f'Bearer realm="{_provider(request).realm.name}"'
    if error:
        said += f', error="{error}", error_description="{description}"'
    headers = _NOT_STORED | _cors(request) | {"WWW-Authenticate": said}
    return Response(status_code=status, headers=headers)
