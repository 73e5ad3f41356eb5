"""Promise 53: no input causes a 5xx. Tested over HTTP on the fleet's services."""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from tests.conformance.samples import body_of, with_invalid_values
from tests.fleet_under_test import GATEWAY, SERVICES, Fleet

# An import's body; the library has no serializer for it.
schemathesis.serializer.alias("application/x-ndjson", "text/plain")

ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
JSON = {"content-type": "application/json"}
BODILESS = {"notification-service"}  # it has no operation with a body

BODIES = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"NaN",
    b'{"quantity":NaN}',
    b'{"quantity":Infinity,"price":-Infinity}',
    b'{"quantity":1e999999999}',
    b'{"quantity":' + b"9" * 10_000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 10_000,
    b'{"name":"\\ud800"}',
    b'{"\\ud800":1}',
    b'{"name":"\\u0000","product_id":"\\u0000"}',
    b'{"product_id":{"$gt":""},"quantity":{"$ne":null}}',
    b"\xff\xfe\x00",
    b'{"items":[' + b'{"product_id":"p","quantity":1},' * 5_000 + b"{}]}",
]
TOKENS = [
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "0.1", "-0", "-1", "1e308"),
    *("18446744073709551616", "9" * 5_000, "null", "true", "[]", "{}", '""', '" "'),
    *('"\\ud800"', '"\\u0000"', '"a\\u0000b"', '"\ud800"', '"\x00"', '"\ufeff\u202e"', '"$where"'),
    '"' + "x" * 100_000 + '"',
    "[" * 5_000 + "]" * 5_000,
    '{"a":' * 500 + "1" + "}" * 500,
]
CONTENT_TYPES = [
    *("", "/", "text/plain", "application/xml", "application/octet-stream", "application/json5"),
    *("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x"),
    *("application/x-www-form-urlencoded", "application/json; charset=utf-16"),
    *("application/json; charset=no-such-thing", "application/json, text/plain", "a" * 5_000),
]
KEYS = ["\xff", "a" * 7_000, "a b", "'; DROP--", "{}", "a\tb"]
SEGMENTS = ["%00", "%ff%fe", "..%2f..%2fetc", "%ED%A0%80", "a" * 3_000, "%24where", "'; DROP--"]
QUERIES = [
    "limit=99999999999999999999",
    "cursor=%00",
    "q=%00&limit=-1",
    "q=" + "(a%2B)%2B" * 50,
    "q=.*%5B",
    "page=9223372036854775808",
    "min_price=NaN&max_price=Infinity",
    "quantity=1e400",
    "status=%ED%A0%80",
]


@dataclass(frozen=True)
class Call:
    """A hostile request. `headers` are sent in addition to the authorization headers."""

    method: str
    url: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)

    def __str__(self) -> str:
        return f"{self.method} {self.url[:100]} {(self.body or b'')[:80]!r} {self.headers!s:.80}"


async def document_of(client: httpx2.AsyncClient) -> dict[str, Any]:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of each operation of a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


async def send_all(fleet: Fleet, service: str, calls: Iterable[Call]) -> list[tuple[int, Call]]:
    """Send all calls, eight at a time. Return their status codes."""
    limit, door = asyncio.Semaphore(8), auth_headers(fleet, service)
    async with httpx2.AsyncClient(base_url=fleet.url(service), timeout=10.0) as client:

        async def send(call: Call) -> tuple[int, Call]:
            headers = [
                (k.encode(), v.encode("latin-1")) for k, v in {**call.headers, **door}.items()
            ]
            async with limit:
                answer = await client.request(
                    call.method, call.url, content=call.body, headers=headers
                )
                return answer.status_code, call

        return await asyncio.gather(*map(send, calls))


def assert_no_5xx(answers: list[tuple[int, Call]]) -> None:
    broken = [f"{status} {call}" for status, call in answers if status >= 500]
    assert not broken, broken[:10]


@pytest.mark.parametrize("service", SERVICES)
async def test_promise_53_hostile_bodies_paths_and_queries_cause_no_5xx(
    fleet: Fleet, service: str
) -> None:
    """Promise 53: NaN, infinities, huge integers, deep nesting, lone surrogates, NUL, operators."""
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        document = await document_of(client)
    calls: list[Call] = []
    for method, path, _ in operations(document):
        if path.startswith(("/health", "/metrics")):
            continue
        urls = [_filled(path, segment) for segment in SEGMENTS] if "{" in path else [path]
        calls += [Call(method, f"{url}?{query}") for url in urls for query in QUERIES]
        calls += [Call(method, _filled(path, "x"), body) for body in BODIES]
    assert_no_5xx(await send_all(fleet, service, calls))


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in BODILESS])
async def test_promise_53_one_invalid_value_in_valid_request_causes_no_5xx(
    fleet: Fleet, service: str
) -> None:
    """Promise 53: each value of each body in turn, other content types, unusual keys."""
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        document = await document_of(client)
    good: list[Call] = []
    calls: list[Call] = []
    for method, path, operation in operations(document):
        body = body_of(operation, document)
        if body is None:
            continue
        url, text = _filled(path, ID), json.dumps(body).encode()
        good.append(Call(method, url, text, JSON | {"idempotency-key": secrets.token_hex(8)}))
        calls += [Call(method, url, nasty) for nasty in with_invalid_values(body, TOKENS)]
        calls += [Call(method, url, text, {"content-type": kind}) for kind in CONTENT_TYPES]
        calls += [Call(method, url, text, JSON | {"idempotency-key": key}) for key in KEYS]
    fine = await send_all(fleet, service, good)
    assert good
    assert not [f"{status} {call}" for status, call in fine if status in (401, 403, 422)]
    assert_no_5xx(fine)
    assert_no_5xx(await send_all(fleet, service, calls))


def auth_headers(fleet: Fleet, service: str) -> dict[str, str]:
    """Return headers that pass the gateway's authorization, so that the input is parsed."""
    if service != GATEWAY:
        return {}
    return {"Authorization": f"Bearer {fleet.identity.token('admin')}"}


def _filled(path: str, segment: str) -> str:
    parts = [segment if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


@pytest.mark.parametrize("service", SERVICES)
def test_promise_53_schemathesis_finds_no_5xx(fleet: Fleet, service: str) -> None:
    """Promise 53: valid and invalid requests generated from each operation's schema."""
    schema = schemathesis.openapi.from_url(f"{fleet.url(service)}/openapi.json")
    described = [f"{method} {path}" for method, path, _ in operations(dict(schema.raw_schema))]
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    tried = {o.label: exercise(o, lambda: auth_headers(fleet, service)) for o in found}
    assert sorted(tried) == sorted(described)
    assert described
    for operation, statuses in tried.items():
        assert statuses - {401, 403}, f"{operation} was never authorized: {statuses}"


def exercise(operation: Any, auth_headers: Callable[[], dict[str, str]]) -> set[int]:
    """Send an operation's generated calls. Return the status codes."""
    statuses = set()

    @given(case=operation.as_strategy())
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any) -> None:
        answer = case.call_and_validate(checks=[not_a_server_error], headers=auth_headers())
        statuses.add(answer.status_code)

    call()
    return statuses
