"""The page at `/docs`: Swagger UI from the package fastapi-swagger, without the internet.

FastAPI's own page loads its scripts from a CDN. This one is made by FastAPI as well, with the
addresses of files that the service itself serves.
"""

import base64
import hashlib
import html
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse, Response

_SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_REDIRECT_SCRIPT = Path(__file__).parent / "docs_page" / "oauth2-redirect.js"
_IMMUTABLE = "public, max-age=31536000, immutable"  # the page names the files with their version
_NO_CACHE = "no-cache"

_REDIRECT_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Logging in</title>
<link rel="icon" href="favicon-32x32.png">
</head>
<body><script src="oauth2-redirect.js"></script></body>
</html>
"""


@dataclass(frozen=True, slots=True)
class PageLogin:
    """The login behind "Authorize": authorization code with PKCE, as a public client.

    The endpoints are in the OpenAPI document's `securitySchemes`.

    Args:
        client_id: the page's client at the identity provider, which must allow
            `<this server>/docs/oauth2-redirect` as a redirect URI and our origin as a web origin.
        provider: any URL of the identity provider as browsers see it; its origin is the only
            foreign one that the page may connect to.
    """

    client_id: str
    provider: str
    scopes: tuple[str, ...] = ("openid",)


def install_docs(app: FastAPI, login: PageLogin | None = None) -> None:
    """Serve the page at `/docs` for the app's `/openapi.json`; the app has `docs_url=None`.

    With a login there is `/docs/oauth2-redirect` as well. No layer in front of the app may set a
    Cross-Origin-Opener-Policy on these: it would separate the login's window from the page.
    """
    package = distribution("fastapi-swagger")
    page = _page(app.title, html.escape(package.version), login)
    headers = _headers(_NO_CACHE) | {"Content-Security-Policy": _policy(page, login)}

    def serve(path: str, endpoint: Callable[[], Awaitable[Response]]) -> None:
        app.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)

    serve("/docs", _text(page, headers))
    for name in _SWAGGER_UI:
        file = Path(str(package.locate_file(f"fastapi_swagger/resources/{name}")))
        serve(f"/docs/{name}", _file(file, _IMMUTABLE))
    if login is not None:
        serve("/docs/oauth2-redirect", _text(_REDIRECT_PAGE, headers))
        serve("/docs/oauth2-redirect.js", _file(_REDIRECT_SCRIPT, _NO_CACHE))


def _page(title: str, version: str, login: PageLogin | None) -> str:
    oauth = None
    if login is not None:
        oauth = {
            "clientId": login.client_id,
            "scopes": list(login.scopes),
            "usePkceWithAuthorizationCodeGrant": True,
        }
    page = get_swagger_ui_html(
        openapi_url="openapi.json",  # all addresses are relative, so that a path prefix may precede
        title=html.escape(title),
        swagger_js_url=f"docs/swagger-ui-bundle.js?{version}",
        swagger_css_url=f"docs/swagger-ui.css?{version}",
        swagger_favicon_url=f"docs/favicon-32x32.png?{version}",
        oauth2_redirect_url="/docs/oauth2-redirect" if login is not None else None,
        init_oauth=oauth,
        # The default validator is a foreign server, which would get the document's address.
        swagger_ui_parameters={"validatorUrl": None, "displayRequestDuration": True},
    )
    return bytes(page.body).decode()


def _policy(page: str, login: PageLogin | None) -> str:
    """Return the Content-Security-Policy: of inline scripts, only the one of this page runs."""
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    provider = ""
    if login is not None:
        address = urlsplit(login.provider)
        provider = f" {address.scheme}://{address.netloc}"
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; "
        f"img-src 'self' data:; connect-src 'self'{provider}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _headers(cache: str) -> dict[str, str]:
    return {"Cache-Control": cache, "X-Content-Type-Options": "nosniff"}


def _text(page: str, headers: dict[str, str]) -> Callable[[], Awaitable[Response]]:
    async def text() -> Response:
        return HTMLResponse(page, headers=headers)

    return text


def _file(path: Path, cache: str) -> Callable[[], Awaitable[Response]]:
    """Return an endpoint that streams a file: the bundle has 1.5 MB."""

    async def file() -> Response:
        return FileResponse(path, headers=_headers(cache))

    return file
