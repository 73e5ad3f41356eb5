"""Promise 53: no input of any kind causes a 5xx. The fleet's real services, over real HTTP."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from tests.fleet_under_test import GATEWAY, SERVICES, Fleet

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


def operations(document: dict[str, dict[str, dict[str, object]]]) -> Iterator[tuple[str, str]]:
    for path, methods in document["paths"].items():
        for method in methods:
            yield method.upper(), path


@pytest.mark.parametrize("service", SERVICES)
async def test_promise_53_nasty_bodies_paths_and_queries_cause_no_5xx(
    fleet: Fleet, service: str
) -> None:
    """Promise 53: NaN, infinities, huge integers, deep nesting, lone surrogates, NUL, operators."""
    async with httpx2.AsyncClient(base_url=fleet.url(service), timeout=10.0) as client:
        document = (await client.get("/openapi.json")).json()
        calls: list[tuple[str, str, bytes | None]] = []
        for method, path in operations(document):
            if path.startswith(("/health", "/metrics")):
                continue
            urls = [_filled(path, segment) for segment in SEGMENTS] if "{" in path else [path]
            calls += [(method, f"{url}?{query}", None) for url in urls for query in QUERIES]
            calls += [(method, _filled(path, "x"), body) for body in BODIES]
        headers = {"content-type": "application/json", **admitted(fleet, service)}
        limit = asyncio.Semaphore(8)

        async def send(method: str, url: str, body: bytes | None) -> tuple[int, str]:
            async with limit:
                answer = await client.request(method, url, content=body, headers=headers)
                return answer.status_code, f"{method} {url[:100]} {(body or b'')[:60]!r}"

        answers = await asyncio.gather(*(send(*call) for call in calls))
    broken = [what for status, what in answers if status >= 500]
    assert not broken, broken[:10]


def admitted(fleet: Fleet, service: str) -> dict[str, str]:
    """What brings a call past the door, so that its input is looked at."""
    if service != GATEWAY:
        return {}
    return {"Authorization": f"Bearer {fleet.identity.token('admin')}"}


def _filled(path: str, segment: str) -> str:
    parts = [segment if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


@pytest.mark.parametrize("service", SERVICES)
def test_promise_53_schemathesis_finds_no_5xx(fleet: Fleet, service: str) -> None:
    """Promise 53: generated from each operation's own schema, valid and invalid."""
    schema = schemathesis.openapi.from_url(f"{fleet.url(service)}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    tried = [exercise(operation) for operation in found]
    assert tried
    assert min(tried) > 0


def exercise(operation: Any) -> int:
    """Send an operation's generated calls; how many that were."""
    tried = 0

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
        nonlocal tried
        tried += 1
        case.call_and_validate(checks=[not_a_server_error])

    call()
    return tried
