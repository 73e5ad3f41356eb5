"""The Swagger page: the merged document and the login at the identity provider."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api_page import install_api_page
from app.document_store import DocumentStore

ISSUER = "https://id.test:8443/realms/shop"


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install_api_page(app, DocumentStore({}, ISSUER), ISSUER)
    with TestClient(app) as client:
        yield client


def test_document_is_the_merged_one_and_not_cached(client: TestClient) -> None:
    answer = client.get("/openapi.json")
    assert answer.json()["components"]["securitySchemes"].keys() == {"login", "bearer"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache"
    assert client.head("/openapi.json").headers["content-length"] == str(len(answer.content))


def test_page_logs_in_as_the_storefront_at_the_issuers_origin(client: TestClient) -> None:
    page = client.get("/docs")
    assert '"clientId": "storefront"' in page.text
    assert '"usePkceWithAuthorizationCodeGrant": true' in page.text
    assert "connect-src 'self' https://id.test:8443;" in page.headers["content-security-policy"]
    assert client.get("/docs/oauth2-redirect").status_code == 200
