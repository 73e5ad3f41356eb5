"""Validation of every text and integer field of the OpenAPI documents."""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.conformance.samples import body_of, with_invalid_values
from tests.conformance.test_hostile_input import (
    BODILESS,
    ID,
    JSON,
    auth_headers,
    document_of,
    operations,
)
from tests.fleet_under_test import SERVICES, Fleet

INVISIBLE = [
    *("\u200b", "\u2060", "\u00ad", "\ufe0f", "\u3164", "\u115f", "\u1160", "\uffa0", "\u2800"),
    *("\U000e0041", "\u0301", "\u00a0", "\u3000", "\ufeff", "\u200b \u2060"),
]
PARAMETERS = {
    "order_id": ID,
    "product_id": "665f1c2e9b1d4c3a2f8e7d60",
    "email": "alice@example.com",
    "key": "a-key",
    "slug": "lamp",
}
SERVICES_WITH_BODIES = [name for name in SERVICES if name not in BODILESS]


@pytest.fixture(params=SERVICES_WITH_BODIES)
async def client(request: pytest.FixtureRequest, fleet: Fleet) -> Any:
    """An authenticated client of each service in turn."""
    headers = auth_headers(fleet, request.param)
    url = fleet.url(request.param)
    async with httpx2.AsyncClient(base_url=url, timeout=30.0, headers=headers) as client:
        yield client


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_whole(value: object) -> bool:
    return isinstance(value, int)


def new_request() -> dict[str, str]:
    """Return headers of a new request, with a new idempotency key."""
    return JSON | {"idempotency-key": secrets.token_hex(8)}


def bodies(
    document: dict[str, Any], tokens: list[str], chosen: Callable[[Any], bool]
) -> Iterator[tuple[str, str, bytes]]:
    """Yield method, path and body of each operation, with one value replaced by each token."""
    for method, path, operation in operations(document):
        body = body_of(operation, document)
        if isinstance(body, dict):
            for text in with_invalid_values(body, tokens, chosen):
                yield method, path.format(**PARAMETERS), text


async def refused(client: httpx2.AsyncClient, *sent: Any) -> list[str]:
    """Describe each call that does not return 422."""
    wrong = []
    for method, url, body in sent:
        answer = await client.request(method, url, content=body, headers=new_request())
        if answer.status_code != 422:
            wrong.append(f"{answer.status_code} {method} {url} {body!r:.200}")
    return wrong


async def test_body_text_without_visible_character_returns_422(
    client: httpx2.AsyncClient,
) -> None:
    tokens = [json.dumps(text) for text in INVISIBLE]
    calls = list(bodies(await document_of(client), tokens, is_text))
    assert calls
    assert await refused(client, *calls) == []


async def test_query_text_without_visible_character_is_refused(
    client: httpx2.AsyncClient,
) -> None:
    """400 for a cursor, 422 for all others."""
    tried = 0
    for method, path, operation in operations(await document_of(client)):
        for parameter in operation.get("parameters", ()):
            kinds = [parameter["schema"], *parameter["schema"].get("anyOf", ())]
            if parameter["in"] != "query" or not any(
                kind.get("type") == "string" for kind in kinds
            ):
                continue
            url = path.format(**PARAMETERS)
            for text in INVISIBLE:
                answer = await client.request(method, url, params={parameter["name"]: text})
                assert answer.status_code in (400, 422), f"{method} {url} {parameter['name']}"
                tried += 1
    assert tried


async def test_path_id_without_visible_character_returns_400(client: httpx2.AsyncClient) -> None:
    document = await document_of(client)
    for method, path, operation in operations(document):
        if path == path.format(**PARAMETERS) or not path.startswith("/api/"):
            continue
        for text in INVISIBLE:
            url = path.format(**dict.fromkeys(PARAMETERS, quote(text)))
            answer = await client.request(
                method, url, params={"quantity": 1}, json=body_of(operation, document)
            )
            assert answer.status_code == 400, f"{method} {url}: {answer.text}"


async def test_body_integer_with_zero_fraction_is_accepted(client: httpx2.AsyncClient) -> None:
    """JSON does not distinguish integers from other numbers (RFC 8259, section 6)."""
    calls = list(bodies(await document_of(client), ["2.0", "2e0", "0.2E+1"], is_whole))
    for method, url, body in calls:
        answer = await client.request(method, url, content=body, headers=new_request())
        assert answer.status_code not in (422, 500), f"{method} {url} {body!r} {answer.text}"


async def test_body_integer_with_invalid_value_returns_422(client: httpx2.AsyncClient) -> None:
    tokens = ["2.5", '"2"', '"2.0"', "true", "1e400", "-1e400", "1e999999999", "2e-1", "[2]"]
    calls = list(bodies(await document_of(client), tokens, is_whole))
    assert await refused(client, *calls) == []
