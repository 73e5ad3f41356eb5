"""The page at /docs: complete, ours alone, and kept by the browser."""

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
    app = FastAPI(title=title)
    install_docs(app, login)
    return TestClient(app)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of() as client:
        yield client


class _Fetched(HTMLParser):
    """What a browser fetches for a page, and the scripts that stand in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline_scripts = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [v for v in (values.get("src"), values.get("href")) if v]
        self.inline_scripts += tag == "script" and "src" not in values
        self.inline_scripts += any(name.startswith("on") for name in values)


@pytest.mark.parametrize("login", [None, LOGIN])
def test_everything_the_page_fetches_is_served_here_with_its_type(login: PageLogin | None) -> None:
    client = client_of(login)
    pages = ["/docs"] if login is None else ["/docs", "/docs/oauth2-redirect"]
    types = {"js": "javascript", "css": "text/css", "png": "image/png"}
    for page in pages:
        fetched = _Fetched(client.get(page).text)
        assert fetched.addresses
        assert not fetched.inline_scripts
        for address in fetched.addresses:
            assert "://" not in address
            assert not address.startswith("//")
            answer = client.get(urljoin(page, address))
            assert answer.status_code == 200, address
            assert answer.content
            suffix = address.partition("?")[0].rpartition(".")[2]
            assert types[suffix] in answer.headers["content-type"]
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_carries_its_version_in_its_address_is_kept_and_the_rest_asked_for(
    client: TestClient,
) -> None:
    page = client.get("/docs")
    assert page.headers["cache-control"] == "no-cache"
    for address in _Fetched(page.text).addresses:
        kept = client.get(f"/{address}").headers["cache-control"]
        versioned = re.search(r"\?\d+\.\d+\.\d+$", address)
        assert kept == ("public, max-age=31536000, immutable" if versioned else "no-cache")


def test_the_policy_allows_scripts_and_answers_of_this_host_alone(client: TestClient) -> None:
    policy = client.get("/docs").headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "://" not in policy
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["connect-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"


def test_with_a_login_the_page_may_also_talk_to_the_identity_provider() -> None:
    client = client_of(LOGIN)
    policy = client.get("/docs").headers["content-security-policy"]
    assert "connect-src 'self' http://identity.test:8081;" in policy
    assert policy.count("://") == 1
    assert client.get("/docs/oauth2-redirect").headers["content-security-policy"] == policy


def test_without_a_login_there_is_no_address_to_come_back_to(client: TestClient) -> None:
    assert client.get("/docs/oauth2-redirect").status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui-bundle.js", "/docs/start.js"])
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert head.status_code == 200
    assert head.headers == got.headers
    assert int(head.headers["content-length"]) == len(got.content)


@pytest.mark.parametrize(
    "path", ["/redoc", "/docs/__init__.py", "/docs/..%2f__init__.py", "/docs/swagger-ui.js"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_no_page_of_fastapi_is_left_and_its_document_is() -> None:
    client = client_of()
    assert "cdn" not in client.get("/docs").text
    document = client.get("/openapi.json").json()
    assert not [path for path in document["paths"] if path.startswith("/docs")]


def test_a_title_is_text_and_never_markup() -> None:
    page = client_of(title='</title><script src="//evil.test">').get("/docs").text
    assert not [a for a in _Fetched(page).addresses if "evil" in a]
