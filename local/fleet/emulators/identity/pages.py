"""The HTML pages: login form, logout confirmation, errors."""

from __future__ import annotations

import html
from importlib import resources
from string import Template

from fastapi.responses import HTMLResponse, Response

from fleet.emulators.identity.realm import Realm

_FOLDER = resources.files("fleet.emulators.identity")
_PAGE = Template(_FOLDER.joinpath("page.html").read_text(encoding="utf-8"))
_LOGIN = Template(_FOLDER.joinpath("login.html").read_text(encoding="utf-8"))
_STYLE = _FOLDER.joinpath("page.css").read_text(encoding="utf-8")

_HEADERS = {
    "Cache-Control": "no-store, must-revalidate, max-age=0",
    # No form-action: browsers also apply it to the redirect after the form, to another origin.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; "
        "frame-ancestors 'self'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}


def login_page(realm: Realm, action: str, username: str = "", *, failed: bool = False) -> Response:
    """Return the login form, with an error after a failed login. It needs no scripts."""
    names = ", ".join(user.username for user in realm.demo_users)
    hint = f'<p class="hint">Users whose password is their name: {html.escape(names)}.</p>'
    message = '<p class="error" id="wrong" role="alert">Invalid username or password.</p>'
    content = _LOGIN.substitute(
        action=html.escape(action),
        message=message if failed else "",
        username=html.escape(username),
        wrong='aria-invalid="true" aria-describedby="wrong"' if failed else "",
        focus_username="" if username else "autofocus",
        focus_password="autofocus" if username else "",
        hint=hint if names else "",
    )
    return _page(realm, f"Sign in to {realm.title}", "Sign in to your account", content)


def error_page(realm: Realm, sentence: str) -> Response:
    """Return a page with status 400, where a redirect is unsafe."""
    content = f'<p class="error" role="alert">{html.escape(sentence)}</p>'
    return _page(realm, f"Sign in to {realm.title}", "We are sorry...", content, status=400)


def logout_page(realm: Realm, action: str) -> Response:
    """Return the confirmation page of a logout without ID token."""
    form = f'<form action="{html.escape(action)}" method="post"><button>Logout</button></form>'
    return _page(realm, "Logging out", "Do you want to log out?", form)


def logged_out_page(realm: Realm) -> Response:
    """Return the page after a logout without redirect."""
    return _page(realm, "Logged out", "You are logged out", "")


def style() -> Response:
    """Return the style sheet."""
    return Response(_STYLE, media_type="text/css", headers={"X-Content-Type-Options": "nosniff"})


def _page(realm: Realm, title: str, heading: str, content: str, status: int = 200) -> Response:
    page = _PAGE.substitute(
        title=html.escape(title),
        realm=html.escape(realm.title),
        heading=html.escape(heading),
        content=content,
    )
    return HTMLResponse(page, status_code=status, headers=_HEADERS)
