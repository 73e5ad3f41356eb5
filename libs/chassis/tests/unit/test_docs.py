"""The page at /docs: complete, without external hosts, cacheable."""

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chassis.app.docs import PageLogin, install_docs

LOGIN = PageLogin("browser", "http://identity.test:8081/realms/things")


def client_of(login: PageLogin | None = None, title: str = "things") -> TestClient:
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    install_docs(app, login)
    return TestClient(app)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of() as client:
        yield client


class _Fetched(HTMLParser):
    """Collect the URLs that a browser loads for a page, and its inline scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline_scripts: list[str] = []
        self._is_inline = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [v for v in (values.get("src"), values.get("href")) if v]
        self._is_inline = tag == "script" and "src" not in values
        assert not any(name.startswith("on") for name in values)

    def handle_data(self, data: str) -> None:
        if self._is_inline:
            self.inline_scripts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._is_inline = False


@pytest.mark.parametrize("login", [None, LOGIN])
def test_every_file_of_the_page_is_served_with_its_type(login: PageLogin | None) -> None:
    client = client_of(login)
    pages = ["/docs"] if login is None else ["/docs", "/docs/oauth2-redirect"]
    types = {"js": "javascript", "css": "text/css", "png": "image/png"}
    for page in pages:
        fetched = _Fetched(client.get(page).text)
        assert fetched.addresses
        for address in fetched.addresses:
            assert "://" not in address
            assert not address.startswith("//")
            answer = client.get(urljoin(page, address))
            assert answer.status_code == 200, address
            assert answer.content
            suffix = address.partition("?")[0].rpartition(".")[2]
            assert types[suffix] in answer.headers["content-type"]
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_versioned_files_are_cached_and_the_page_is_revalidated(
    client: TestClient,
) -> None:
    page = client.get("/docs")
    assert page.headers["cache-control"] == "no-cache"
    for address in _Fetched(page.text).addresses:
        kept = client.get(f"/{address}").headers["cache-control"]
        versioned = re.search(r"\?\d+\.\d+\.\d+$", address)
        assert kept == ("public, max-age=31536000, immutable" if versioned else "no-cache")


def test_policy_allows_this_host_and_the_inline_script_of_the_page(client: TestClient) -> None:
    page = client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "://" not in policy
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self'"
    [script] = _Fetched(page.text).inline_scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert directives["script-src"] == f"'self' 'sha256-{digest}'"
    assert directives["frame-ancestors"] == "'none'"


def test_policy_with_a_login_allows_the_identity_provider() -> None:
    client = client_of(LOGIN)
    policy = client.get("/docs").headers["content-security-policy"]
    assert "connect-src 'self' http://identity.test:8081;" in policy
    assert policy.count("://") == 1
    assert client.get("/docs/oauth2-redirect").headers["content-security-policy"] == policy


def test_redirect_page_without_a_login_is_404(client: TestClient) -> None:
    assert client.get("/docs/oauth2-redirect").status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui-bundle.js"])
def test_head_of_the_page_returns_the_headers_of_get(client: TestClient, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert head.status_code == 200
    assert head.headers == got.headers
    assert int(head.headers["content-length"]) == len(got.content)


@pytest.mark.parametrize(
    "path", ["/redoc", "/docs/__init__.py", "/docs/..%2f__init__.py", "/docs/swagger-ui.js"]
)
def test_other_paths_are_404(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_page_uses_no_cdn_and_is_not_in_the_openapi_document() -> None:
    client = client_of()
    assert "cdn" not in client.get("/docs").text
    document = client.get("/openapi.json").json()
    assert not [path for path in document["paths"] if path.startswith("/docs")]


def test_title_is_escaped() -> None:
    page = client_of(title='</title><script src="//evil.test">').get("/docs").text
    assert not [a for a in _Fetched(page).addresses if "evil" in a]
