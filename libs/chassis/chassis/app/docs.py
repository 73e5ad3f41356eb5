"""The page at `/docs`: Swagger UI from a package, so that it works without the internet.

FastAPI's own pages load their scripts from a CDN; they are taken out. Of fastapi-swagger only the
three files that it carries are used (byte for byte those of npm's swagger-ui-dist); none of its
code is imported.
"""

import html
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.responses import FileResponse, HTMLResponse, Response

_DISTRIBUTION = "fastapi-swagger"
_SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_OURS = Path(__file__).parent / "docs_page"
_FOREVER = "public, max-age=31536000, immutable"  # the page names them with their version
_EACH_TIME = "no-cache"

# Addresses are relative to `/docs`, so that a prefix in front of it changes nothing.
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="docs/favicon-32x32.png?{version}">
<link rel="stylesheet" href="docs/swagger-ui.css?{version}">
</head>
<body>
<div id="swagger-ui" data-oauth="{oauth}"></div>
<script src="docs/swagger-ui-bundle.js?{version}"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

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
    """How "Authorize" fills itself in: authorization code with PKCE, as a public client.

    Where to log in stands in the OpenAPI document's `securitySchemes`.

    Args:
        client_id: the identity provider's name for this page; it must know
            `<this server>/docs/oauth2-redirect` as a redirect URI and our origin as a web origin.
        provider: any URL of the identity provider as browsers see it; its origin is the only other
            one that the page may talk to.
    """

    client_id: str
    provider: str
    scopes: tuple[str, ...] = ("openid",)


def install_docs(app: FastAPI, login: PageLogin | None = None) -> None:
    """Give `app` the page at `/docs` for its `/openapi.json`, in place of FastAPI's own two.

    With a login there is `/docs/oauth2-redirect` as well. Nothing in front of the app may set a
    Cross-Origin-Opener-Policy on these: it would part the login's window from the page.
    """
    from_cdn = {app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url}
    kept = [route for route in app.routes if getattr(route, "path", None) not in from_cdn]
    app.router.routes[:] = kept
    carrier = distribution(_DISTRIBUTION)
    oauth = None
    if login is not None:
        oauth = {
            "clientId": login.client_id,
            "scopes": list(login.scopes),
            "usePkceWithAuthorizationCodeGrant": True,
        }
    page = _PAGE.format(
        title=html.escape(app.title),
        version=html.escape(carrier.version),
        oauth=html.escape(json.dumps(oauth)),
    )
    headers = _headers(_EACH_TIME) | {"Content-Security-Policy": _policy(login)}

    def serve(path: str, endpoint: Callable[[], Awaitable[Response]]) -> None:
        app.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)

    serve("/docs", _text(page, headers))
    for name in _SWAGGER_UI:
        file = Path(str(carrier.locate_file(f"fastapi_swagger/resources/{name}")))
        serve(f"/docs/{name}", _file(file, _FOREVER))
    serve("/docs/start.js", _file(_OURS / "start.js", _EACH_TIME))
    if login is not None:
        serve("/docs/oauth2-redirect", _text(_REDIRECT_PAGE, headers))
        serve("/docs/oauth2-redirect.js", _file(_OURS / "oauth2-redirect.js", _EACH_TIME))


def _policy(login: PageLogin | None) -> str:
    provider = ""
    if login is not None:
        where = urlsplit(login.provider)
        provider = f" {where.scheme}://{where.netloc}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'{provider}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _headers(cache: str) -> dict[str, str]:
    return {"Cache-Control": cache, "X-Content-Type-Options": "nosniff"}


def _text(page: str, headers: dict[str, str]) -> Callable[[], Awaitable[Response]]:
    async def text() -> Response:
        return HTMLResponse(page, headers=headers)

    return text


def _file(path: Path, cache: str) -> Callable[[], Awaitable[Response]]:
    """Streamed from the disk: a megabyte and a half that no service keeps in its memory."""

    async def file() -> Response:
        return FileResponse(path, headers=_headers(cache))

    return file
