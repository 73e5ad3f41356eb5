"""A minimal browser for logins: cookies and HTML forms.

Cookies are handled here, because Keycloak marks them Secure on plain HTTP too: browsers send such
cookies to localhost, HTTP libraries do not.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from fleet.clients.identity import IdentityProvider

CALLBACK = "http://localhost:3000/cb"


class Form(HTMLParser):
    """The form of a page: its action and its fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            assert (found["method"] or "").lower() == "post"
            self.action = found["action"] or ""
        elif tag == "input":
            self.fields[found.get("name") or ""] = found.get("value") or ""


class Browser:
    """A browser of one user."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def get(self, url: str) -> httpx2.Response:
        return self._send("GET", url)

    def post(self, url: str, **form: str) -> httpx2.Response:
        return self._send("POST", url, data=form)

    def log_in(self, page: httpx2.Response, username: str, password: str) -> httpx2.Response:
        """Fill in the login form of a page and submit it."""
        assert page.status_code == 200, page.text
        form = Form(page.text)
        assert {"username", "password"} <= form.fields.keys()
        return self.post(form.action, **form.fields | {"username": username, "password": password})

    def _send(self, method: str, url: str, **more: Any) -> httpx2.Response:
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        answer = httpx2.request(method, url, headers=headers, timeout=30, **more)
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer


@dataclass
class Login:
    """One authorization request of a client, with its own PKCE verifier."""

    provider: IdentityProvider
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def url(self, **changed: str | None) -> str:
        """Return the authorization URL; None omits a parameter."""
        query = {
            "client_id": "storefront",
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": "s1",
            "nonce": "n1",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            **changed,
        }
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self.provider.endpoints}/auth?{urlencode(given)}"

    def code(self, username: str = "alice") -> str:
        """Log in with a new browser. Return the authorization code."""
        browser = Browser()
        page = browser.get(self.url())
        return returned(browser.log_in(page, username, username))["code"]

    def form(self, code: str, **changed: str | None) -> dict[str, str]:
        """Return the form with which the client exchanges the code."""
        form = {
            "grant_type": "authorization_code",
            "client_id": "storefront",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": self.verifier,
            **changed,
        }
        return {name: value for name, value in form.items() if value is not None}


def returned(answer: httpx2.Response, to: str = CALLBACK) -> dict[str, str]:
    """Return the parameters of a redirect to the client."""
    assert answer.status_code == 302, answer.text
    target = answer.headers["location"]
    assert target.startswith((f"{to}?", f"{to}#")), target
    parts = urlsplit(target)
    return dict(parse_qsl(parts.query or parts.fragment))
