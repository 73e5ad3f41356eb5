"""Problem documents, health, metrics and request middleware in a small app."""

import gc
import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field

from chassis.app.factory import NO_NATIVE_TELEMETRY
from chassis.app.head import HeadMiddleware
from chassis.app.health import Dependency, health_router
from chassis.app.idempotency import IdempotencyKey
from chassis.app.json_body import ExactJsonRoute, max_body
from chassis.app.middleware import RequestMiddleware
from chassis.app.pagination import InvalidCursor, decode_cursor, encode_cursor, link_next
from chassis.field_types import Money, Quantity, VisibleText
from chassis.observability.metrics import metrics_router, new_registry
from chassis.problems import Problem, install_problem_handlers, problem_responses


class TooShort(Problem):
    status = 400
    type = "/problems/too-short"
    title = "Too short"


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[VisibleText, Field(max_length=20)]
    price: Money
    pieces: Quantity = 1
    parts: Annotated[list[Quantity], Field(max_length=10, fail_fast=True)] = []


def build_app(dependencies: tuple[Dependency, ...] = ()) -> FastAPI:
    app = FastAPI(title="things", telemetry=NO_NATIVE_TELEMETRY)
    registry = new_registry()
    app.add_middleware(HeadMiddleware)
    app.add_middleware(RequestMiddleware, registry=registry, max_body_bytes=200_000)
    install_problem_handlers(app)
    router = APIRouter(prefix="/things", route_class=ExactJsonRoute)

    @router.post("", status_code=201, responses=problem_responses(TooShort))
    async def create(thing: Thing, key: IdempotencyKey) -> Thing:
        if thing.name == "bad":
            raise TooShort("Too short.", missing=3, headers={"X-Extra": "1"})
        if thing.name == "crash":
            raise RuntimeError("secret-detail")
        return thing

    @router.post("/larger", openapi_extra=max_body(100_000))
    async def create_larger(thing: Thing) -> Thing:
        return thing

    @router.post("/text")
    async def create_text(text: Annotated[str, Body()]) -> str:
        return text

    @router.get("/{thing_id}")
    async def read(
        thing_id: str, request: Request, response: Response, q: Annotated[str, Query()] = ""
    ) -> str:
        link_next(request, response, encode_cursor("a", "b"))
        return thing_id

    app.include_router(router)
    app.include_router(health_router("things", dependencies))
    app.include_router(metrics_router(registry))
    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(build_app(), raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, content: str | bytes, **headers: str) -> Any:
    return client.post(
        "/things", content=content, headers={"content-type": "application/json", **headers}
    )


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance", "trace_id"} <= body.keys()
    assert body["status"] == status
    assert body["trace_id"] == response.headers["x-trace-id"]
    return body


NASTY_BODIES = [
    b'{"name":"a","price":NaN}',
    b'{"name":"a","price":Infinity}',
    b'{"name":"a","price":1e999999999}',
    b'{"name":"a","price":1e-999999999}',
    b'{"name":"a","price":' + b"9" * 600 + b"}",
    b'{"name":"a","price":1.005}',
    b'{"name":"a","price":1.00000000000000000000001}',
    b'{"name":"a","price":"1.50"}',
    b'{"name":"a","price":true}',
    b'{"name":"a","price":-1}',
    b'{"name":"a","price":10000000000}',
    b'{"name":"a","price":1,"pieces":"2"}',
    b'{"name":"a","price":1,"pieces":true}',
    b'{"name":"a","price":1,"pieces":2.5}',
    b'{"name":"\\ud800","price":1}',
    b'{"name":"\\u0000","price":1}',
    b'{"name":"  ","price":1}',
    b'{"name":"a","price":1,"\\ud800":1}',
    b'{"name":"a","price":1,"extra":1}',
    b"[" * 900,
    b"\xff\xfe{",
    b"",
    b"null",
    b'{"name":"a","price":1',
]


@pytest.mark.parametrize("content", NASTY_BODIES)
def test_promise_53_no_body_causes_a_5xx(client: TestClient, content: bytes) -> None:
    """Promise 53: FastAPI without the chassis returns 500 for several of these."""
    detail = assert_problem(post(client, content), 422)["detail"]
    assert all(item.keys() == {"loc", "msg", "type"} for item in detail)


def test_refused_value_is_not_echoed(client: TestClient) -> None:
    response = post(client, '{"name":"alice-the-secret-name-of-somebody","price":1}')
    assert "alice" not in response.text


@pytest.mark.parametrize(("sent", "back"), [("20", 20.0), ("19.9", 19.9), ("1e2", 100.0)])
def test_promise_55_money_survives_a_round_trip(client: TestClient, sent: str, back: float) -> None:
    """Promise 55."""
    assert post(client, f'{{"name":"a","price":{sent}}}').json()["price"] == back


def test_promise_54_every_kind_of_error_is_a_problem(client: TestClient) -> None:
    """Promise 54."""
    body = assert_problem(post(client, '{"name":"bad","price":1}'), 400)
    assert (body["type"], body["title"], body["missing"]) == ("/problems/too-short", "Too short", 3)
    assert_problem(client.get("/nowhere"), 404)
    refused = client.request("DELETE", "/things/1")
    assert_problem(refused, 405)
    assert refused.headers["allow"] == "GET, HEAD"
    broken = post(client, '{"name":"crash","price":1}')
    assert_problem(broken, 500)
    assert "secret-detail" not in broken.text


@pytest.mark.parametrize(("path", "limit"), [("/things", 16_384), ("/things/larger", 100_000)])
def test_body_over_the_limit_of_its_route_is_413(client: TestClient, path: str, limit: int) -> None:
    """With Content-Length and chunked. A body of exactly the limit is read and is invalid JSON."""

    def pieces(size: int) -> Iterator[bytes]:
        yield from (b"x" * 100 for _ in range(size // 100))
        yield b"x" * (size % 100)

    headers = {"content-type": "application/json"}
    for size, status in ((limit, 422), (limit + 1, 413)):
        assert_problem(client.post(path, content=b"x" * size, headers=headers), status)
        assert_problem(client.post(path, content=pieces(size), headers=headers), status)


def test_body_over_the_limit_of_the_service_is_413_before_routing(client: TestClient) -> None:
    assert_problem(client.post("/nowhere", content=b"x" * 200_001), 413)


def test_limit_of_a_route_is_in_the_openapi_document(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert paths["/things/larger"]["post"]["x-max-body-bytes"] == 100_000


LARGE = [
    b'{"name":"a","price":1,"parts":[' + b"1," * 3_990 + b"1]}",
    b'{"name":"a","price":1,"parts":[' + b"[]," * 1_900 + b"1]}",
    b'{"name":"a","price":1,"parts":[' + b"{}," * 1_900 + b"1]}",
    b'{"name":"a","price":1,' + b",".join(b'"unknown%d":1' % n for n in range(1_900)) + b"}",
    b'{"name":"a","price":1,"' + b"n" * 90_000 + b'":1}',
    b'{"name":"' + b"n" * 90_000 + b'","price":1}',
    b'{"name":"a","price":' + b"9" * 90_000 + b"}",
    b'{"name":"a","price":0.' + b"9" * 90_000 + b"}",
    b"[" * 3_000,
    b"[" * 400 + b"]" * 400,
]


@pytest.mark.parametrize("content", LARGE, ids=lambda content: repr(content[20:50]))
def test_promise_63_422_lists_at_most_20_errors_in_a_few_kilobytes(
    client: TestClient, content: bytes
) -> None:
    """Promise 63: text of the client is truncated in each error."""
    response = client.post(
        "/things/larger", content=content, headers={"content-type": "application/json"}
    )
    detail = assert_problem(response, 422)["detail"]
    assert len(response.content) < 10_000
    assert len(detail) <= 21
    assert all(item.keys() == {"loc", "msg", "type"} for item in detail)


def test_422_names_the_number_of_omitted_errors(client: TestClient) -> None:
    unknown = {f"unknown{n}": 1 for n in range(50)}
    detail = assert_problem(post(client, json.dumps({"name": "a", "price": 1} | unknown)), 422)
    assert [item["type"] for item in detail["detail"]] == ["extra_forbidden"] * 20 + ["more_errors"]
    assert detail["detail"][-1] == {
        "loc": ["body"],
        "msg": "30 more errors.",
        "type": "more_errors",
    }


def test_list_is_validated_up_to_its_first_error(client: TestClient) -> None:
    """A list yields one error, independent of the number of invalid elements."""
    detail = assert_problem(post(client, '{"name":"a","price":1,"parts":["a","b","c"]}'), 422)
    assert [item["loc"] for item in detail["detail"]] == [["body", "parts", 0]]


@pytest.mark.parametrize(
    "content",
    [
        b"[" + b"1," * 4_000 + b"1]",
        b"[" * 4_001,
        b"[" + b'"",' * 2_100 + b"1]",
        b'{"name":"' + b'\\"' * 4_000 + b'",' + b'"a":1,' * 2_100 + b'"b":1}',
    ],
)
def test_body_with_too_many_values_is_refused_before_it_is_parsed(
    client: TestClient, content: bytes
) -> None:
    response = client.post(
        "/things/larger", content=content, headers={"content-type": "application/json"}
    )
    assert [e["type"] for e in assert_problem(response, 422)["detail"]] == ["too_many_values"]


@pytest.mark.parametrize("content", [b'"' + b'\\"' * 7_000, b'"' * 16_000, b'"a' * 5_000])
def test_counting_values_takes_linear_time(client: TestClient, content: bytes) -> None:
    began = time.process_time()
    assert_problem(post(client, content), 422)
    assert time.process_time() - began < 1


def test_text_full_of_commas_and_brackets_counts_as_one_value(client: TestClient) -> None:
    text = '[{,"\\' * 2_000
    assert client.post("/things/text", json=text).json() == text


@pytest.mark.parametrize("content", [b'{"name":"a","unknown":1}', b"[" * 3_000])
def test_refused_body_is_released_without_the_garbage_collector(
    client: TestClient, content: bytes
) -> None:
    """The garbage collector runs rarely, and errors refer to the body."""
    post(client, content)
    gc.collect()
    gc.disable()
    try:
        assert_problem(post(client, content), 422)
        held = [one for one in gc.get_objects() if isinstance(one, RequestValidationError)]
    finally:
        gc.enable()
    assert held == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_json_not_in_utf_8_is_refused(client: TestClient, encoding: str) -> None:
    """RFC 8259, section 8.1."""
    assert_problem(post(client, '{"name":"a","price":1}'.encode(encoding)), 422)


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é", "\x7f"])
def test_promise_14_malformed_idempotency_key_is_400(client: TestClient, key: str) -> None:
    """Promise 14."""
    response = client.post(
        "/things",
        json={"name": "a", "price": 1},
        headers=[(b"idempotency-key", key.encode("latin-1"))],
    )
    assert_problem(response, 400)


def test_trace_of_the_caller_is_continued(client: TestClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    response = client.get("/things/1", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-03"})
    assert response.headers["x-trace-id"] == trace


@pytest.mark.parametrize("bad", ["", "00-x", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
def test_malformed_trace_is_replaced(client: TestClient, bad: str) -> None:
    assert len(client.get("/things/1", headers={"traceparent": bad}).headers["x-trace-id"]) == 32


def test_metrics_have_route_templates_instead_of_paths(client: TestClient) -> None:
    for number in range(50):
        client.get(f"/things/{number}")
        client.get(f"/nowhere/{number}")
    text = client.get("/metrics").text
    assert 'route="/things/{thing_id}",status="200"' in text
    assert 'route="unmatched",status="404"' in text
    assert "/nowhere" not in text


def test_openapi_declares_problems_instead_of_fastapi_errors(
    client: TestClient,
) -> None:
    document = client.get("/openapi.json").json()
    responses = document["paths"]["/things"]["post"]["responses"]
    assert set(responses["400"]["content"]) == {"application/problem+json"}
    assert set(responses["422"]["content"]) == {"application/problem+json"}
    assert "Problem" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def _fine() -> None:
    return


async def _broken() -> None:
    raise ConnectionError("postgres://user:password@host is away")


@pytest.mark.parametrize(
    ("critical", "status", "word"), [(True, 503, "DOWN"), (False, 200, "DEGRADED")]
)
def test_readiness_is_503_only_for_a_critical_dependency(
    critical: bool, status: int, word: str
) -> None:
    table = (Dependency("database", _broken, critical=critical), Dependency("broker", _fine))
    with TestClient(build_app(table)) as client:
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (status, word)
        assert ready.json()["dependencies"]["broker"]["status"] == "UP"
        assert "password" not in ready.text
        assert client.get("/health").json() == {"status": "UP", "service": "things"}


def test_only_an_encoded_cursor_is_decoded() -> None:
    assert decode_cursor(encode_cursor("2026-01-01", "ü"), 2) == ["2026-01-01", "ü"]
    for bad in ["", "x", "%%%", "é", encode_cursor("a"), encode_cursor("a", "b")[:-3], "bnVsbA"]:
        with pytest.raises(InvalidCursor):
            decode_cursor(bad, 2)


def test_link_header_keeps_other_query_parameters(client: TestClient) -> None:
    link = client.get("/things/a%20b", params={"q": "x y", "cursor": "old"}).headers["link"]
    assert link.startswith("</things/a%20b?q=x+y&cursor=")
    assert link.endswith('>; rel="next"')
