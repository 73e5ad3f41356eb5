"""The OpenAPI document is complete and matches the responses of the running service."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from app.config import Settings
from app.main import create_app

_LIST = {"200", "304", "400", "412", "422", "503"}
CALLS = {
    ("/api/products", "post"): {"201", "415", "422", "503"},
    ("/api/products", "get"): _LIST,
    ("/api/products/prices", "post"): {"200", "415", "422", "503"},
    ("/api/products/search", "get"): _LIST,
    ("/api/products/suggest", "get"): _LIST,
    ("/api/products/facets", "get"): _LIST,
    ("/api/products/changes", "get"): {"200", "400", "422", "503"},
    ("/api/products/import", "post"): {"200", "413", "415", "422", "503"},
    ("/api/products/export", "get"): {"200", "422", "503"},
    ("/api/products/{product_id}", "get"): {"200", "304", "400", "404", "412", "422", "503"},
    ("/api/products/{product_id}", "put"): {"200", "400", "404", "412", "415", "422", "503"},
    ("/api/products/{product_id}", "delete"): {"200", "400", "404", "412", "422", "503"},
    ("/api/products/images/{slug}.svg", "get"): {"200", "400", "422"},
}


async def test_every_operation_and_error_is_documented(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    declared_tags = {tag["name"] for tag in document["tags"]}
    for (path, method), statuses in CALLS.items():
        operation = document["paths"][path][method]
        assert set(operation["responses"]) == statuses
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) <= declared_tags
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert set(response["content"]) == {"application/problem+json"}
                assert response["content"]["application/problem+json"]["examples"]
    assert document["info"]["title"]
    assert document["info"]["description"]
    assert {path for path, _ in CALLS} <= document["paths"].keys()


async def test_every_parameter_and_body_has_an_example(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, method in CALLS:
        operation = document["paths"][path][method]
        for parameter in operation.get("parameters", []):
            schema = parameter["schema"]
            assert {"examples", "default"} & (schema.keys() | parameter.keys()), parameter["name"]
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert content["examples"]


# --- The running service, over real HTTP ----------------------------------------------------


@pytest.fixture(scope="module")
def live(settings: Settings) -> Iterator[str]:
    """Run the service in a thread with its own event loop."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(create_app(settings), http="httptools", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)


# An import's body; the library has no serializer for it.
schemathesis.serializer.alias("application/x-ndjson", "text/plain")

# Loaded from the document: schemathesis' fixture loader does not support pytest 9.2.
api = schemathesis.openapi.from_dict(create_app(Settings(environment="test")).openapi())


@api.include(path_regex="^/api/").parametrize()
@examples(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_promise_53_every_response_is_documented(case: Any, live: str) -> None:
    """Promise 53, with requests generated from the document, valid and invalid."""
    case.call_and_validate(
        base_url=live,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            negative_data_rejection,
        ],
    )


@pytest.mark.parametrize(
    "line",
    [
        b"GET /api/products/\xff\xfe HTTP/1.1",
        b"GET /api/products/%ED%A0%80 HTTP/1.1",
        b"GET /api/products/search?q=\xff HTTP/1.1",
        b"GET /api/products/..%2f..%2fhealth HTTP/1.1",
        b"GET /api/products?page=\x01 HTTP/1.1",
        b"BREW /api/products HTTP/1.1",
        b"GET //api/products HTTP/1.1",
    ],
)
def test_promise_53_malformed_requests_cause_no_5xx(live: str, line: bytes) -> None:
    """Promise 53, with raw bytes that HTTP clients cannot send."""
    host, port = live.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        began = time.monotonic()
        answer = connection.makefile("rb").readline()
    assert answer.startswith(b"HTTP/1.1 ")
    assert 200 <= int(answer.split()[1]) < 500
    assert time.monotonic() - began < 2
