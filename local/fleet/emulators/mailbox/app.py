"""The web app of the mailbox: API, inbox page, and the frame for HTML mails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

from fleet.emulators.mailbox.api import router
from fleet.emulators.mailbox.faults import Faults
from fleet.emulators.mailbox.store import Store

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""Policy for HTML mails: inline styles only; no scripts, requests or forms."""

_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}


def create_app(store: Store, faults: Faults) -> FastAPI:
    """Build the app. It loads no file from another host."""
    app = FastAPI(title="Mailbox", docs_url=None, redoc_url=None)
    app.state.store = store
    app.state.faults = faults
    app.include_router(router)
    for path, (name, kind) in _FILES.items():
        app.add_api_route(path, _file(name, kind), include_in_schema=False)

    @app.get("/view/{mail_id}.html", include_in_schema=False)
    async def view(mail_id: str) -> Response:
        mail = store.get(mail_id)
        if mail is None:
            return HTMLResponse("<p>This mail is no longer here.</p>", status_code=404)
        # Links open in a new tab; the frame itself cannot navigate.
        return _answer(f'<base target="_blank">{mail.html}', "text/html", _MAIL_POLICY)

    return app


def _file(name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    content = resources.files("fleet.emulators.mailbox").joinpath(name).read_text(encoding="utf-8")

    async def serve() -> Response:
        return _answer(content, kind, _PAGE_POLICY)

    return serve


def _answer(content: str, kind: str, policy: str) -> Response:
    return Response(
        content,
        media_type=kind,
        headers={
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )
