"""Accepted Content-Types of request bodies; others return a 415 that names the accepted type."""

import gzip
from collections.abc import Iterator

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from pydantic import BaseModel

from chassis.app.factory import add_routes, service_app
from chassis.app.json_body import ExactJsonRoute
from chassis.observability.metrics import new_registry
from chassis.settings import ServiceSettings

BODY = b'{"name":"a"}'
AS_JSON = {"content-type": "application/json"}


class Thing(BaseModel):
    name: str


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    router = APIRouter(route_class=ExactJsonRoute)

    @router.post("/things")
    async def create(thing: Thing) -> Thing:
        return thing

    @router.patch("/things/close")
    async def close() -> None: ...

    app = service_app(ServiceSettings(service_name="things"), new_registry(), None)  # type: ignore[arg-type]
    add_routes(app, router)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def refused(
    client: TestClient, content: bytes, headers: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Return the detail and the headers of the 415."""
    response = client.post("/things", content=content, headers=headers)
    assert response.status_code == 415, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (document["status"], document["title"]) == (415, "Unsupported Media Type")
    return document["detail"], dict(response.headers)


@pytest.mark.parametrize(
    "encoding",
    [
        "gzip",
        "x-gzip",
        "GZIP",
        "deflate",
        "br",
        "zstd",
        "gzip, gzip",
        "identity, gzip",
        "aws-chunked",
    ],
)
def test_encoded_body_is_415_with_accept_encoding(client: TestClient, encoding: str) -> None:
    content = gzip.compress(BODY)
    detail, headers = refused(client, content, {**AS_JSON, "content-encoding": encoding})
    assert detail == "The body must not be compressed: send it without Content-Encoding."
    assert headers["accept-encoding"] == "identity"


def test_encoded_body_in_chunks_is_415(client: TestClient) -> None:
    response = client.post(
        "/things",
        content=iter([gzip.compress(BODY)]),
        headers={**AS_JSON, "content-encoding": "gzip"},
    )
    assert response.status_code == 415


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", "identity, identity"])
def test_identity_is_no_encoding(client: TestClient, encoding: str) -> None:
    headers = {**AS_JSON, "content-encoding": encoding}
    assert client.post("/things", content=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        *("", "text/plain", "text/json", "application/xml", "application/octet-stream"),
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"),
        *("application/json, text/plain", "application/jsonp", "application/json5", "*/*"),
    ],
)
def test_body_of_another_media_type_is_415_with_accept(
    client: TestClient, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    detail, answered = refused(client, BODY, headers)
    assert detail == "The body must be JSON: send it with Content-Type: application/json."
    assert answered["accept"] == "application/json"


@pytest.mark.parametrize(
    "charset", ["iso-8859-1", "latin1", "utf-16", "windows-1252", "utf-7", "x"]
)
def test_body_in_another_charset_is_415(client: TestClient, charset: str) -> None:
    detail, _ = refused(client, BODY, {"content-type": f"application/json; charset={charset}"})
    assert detail == "The body must be in UTF-8, as all JSON (RFC 8259)."


@pytest.mark.parametrize(
    "media_type",
    [
        *("application/json", "Application/JSON", "application/json;charset=utf-8"),
        *('application/json; charset="UTF-8"', "application/json; charset=utf8"),
        *("application/json; charset=us-ascii", "application/json; profile=x; charset=UTF-8"),
        *("application/merge-patch+json", "application/vnd.api+json", "application/json;"),
    ],
)
def test_json_media_type_is_accepted_in_any_form(client: TestClient, media_type: str) -> None:
    for content in (BODY, b"\xef\xbb\xbf" + BODY):  # also with a byte order mark
        response = client.post("/things", content=content, headers={"content-type": media_type})
        assert (response.status_code, response.text) == (200, '{"name":"a"}')


@pytest.mark.parametrize(
    "headers", [{}, {"content-encoding": "gzip"}, {"content-type": "text/plain"}]
)
def test_missing_body_is_422(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post("/things", headers=headers)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body"]


def test_route_without_a_body_ignores_one(client: TestClient) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"}
    assert client.patch("/things/close", content=b"a=1", headers=headers).status_code == 200


def test_openapi_declares_415_for_operations_with_a_body(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    declared = paths["/things"]["post"]["responses"]["415"]
    assert declared["content"]["application/problem+json"]["examples"]
    assert "415" not in paths["/things/close"]["patch"]["responses"]
