"""The mailbox's pages: the API, the inbox, and the frame that an HTML mail is shown in."""

from __future__ import annotations

from importlib import resources

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from fleet.mailbox.api import router
from fleet.mailbox.store import Store

_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""An HTML mail may style itself and nothing else: no script, no request, no form."""


def create_app(store: Store) -> FastAPI:
    """Build the page over a store; nothing is served from anywhere but this process."""
    app = FastAPI(title="Mailbox", docs_url=None, redoc_url=None)
    app.state.store = store
    app.include_router(router)
    page = resources.files("fleet.mailbox").joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def inbox() -> HTMLResponse:
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    @app.get("/view/{mail_id}.html", include_in_schema=False)
    async def view(request: Request, mail_id: str) -> Response:
        mail = store.get(mail_id)
        if mail is None:
            return HTMLResponse("<p>This mail is no longer here.</p>", status_code=404)
        return HTMLResponse(
            mail.html,
            headers={
                "Content-Security-Policy": _MAIL_POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
            },
        )

    return app
