"""The gateway's one page, of the documents that the real services serve."""

import re
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from fleet.services import present
from tests.fleet_under_test import ROOT, Fleet

APIS = [service.name for service in present(ROOT) if service.api]


async def document_of(fleet: Fleet, service: str) -> dict[str, Any]:
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/")
    }


def resolved(value: Any, document: dict[str, Any]) -> Any:
    """With each reference replaced by what it refers to, whatever its name is here."""
    if isinstance(value, list):
        return [resolved(item, document) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        _, components, section, name = value["$ref"].split("/")
        return resolved(document[components][section][name], document)
    return {key: resolved(item, document) for key, item in value.items()}


async def test_the_gateways_document_is_a_valid_one_of_all_services_calls(fleet: Fleet) -> None:
    merged = await document_of(fleet, "api-gateway")
    OpenAPIV31SpecValidator(merged).validate()
    theirs: set[tuple[str, str]] = set()
    for service in APIS:
        theirs |= operations(await document_of(fleet, service)).keys()
    assert operations(merged).keys() == theirs
    assert {tag["name"] for tag in merged["tags"]} == set(APIS)


@pytest.mark.parametrize("service", APIS)
async def test_a_call_takes_and_gives_at_the_gateway_what_its_service_says(
    fleet: Fleet, service: str
) -> None:
    merged, own = await document_of(fleet, "api-gateway"), await document_of(fleet, service)
    shown = operations(merged)
    for key, operation in operations(own).items():
        for part in ("summary", "parameters", "requestBody"):
            ours, theirs = shown[key].get(part), operation.get(part)
            assert resolved(ours, merged) == resolved(theirs, own), (key, part)
        for status, answer in operation["responses"].items():
            ours = shown[key]["responses"][status]
            assert resolved(ours, merged) == resolved(answer, own), (key, status)
        assert shown[key]["tags"] == [service]


async def test_every_call_says_for_whom_it_is_and_how_the_gateway_refuses(fleet: Fleet) -> None:
    for key, operation in operations(await document_of(fleet, "api-gateway")).items():
        assert operation["description"].startswith("**For "), key
        is_public = operation["description"].startswith("**For anyone.**")
        assert is_public == (operation["security"] == []), key
        expected = {"401", "429", "502", "503", "504"} | (set() if is_public else {"403"})
        assert expected <= operation["responses"].keys(), key
        for status in expected:
            content = operation["responses"][status]["content"]
            assert list(content) == ["application/problem+json"], key


async def test_the_page_needs_no_host_but_its_own_and_the_identity_providers(
    fleet: Fleet,
) -> None:
    async with httpx2.AsyncClient(base_url=fleet.url("api-gateway")) as client:
        page = await client.get("/docs")
        document = (await client.get("/openapi.json")).json()
        for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert re.fullmatch(r"docs/[\w.-]+(\?[\w.-]+)?", address), address
            assert (await client.get(f"/{address}")).status_code == 200
        back = await client.get("/docs/oauth2-redirect")
        assert (await client.get("/redoc")).status_code == 404
    policy = page.headers["content-security-policy"]
    assert back.headers["content-security-policy"] == policy
    for headers in (page.headers, back.headers):
        assert "cross-origin-opener-policy" not in headers  # it would part page and login
    flows = document["components"]["securitySchemes"]["login"]["flows"]
    login = flows["authorizationCode"]
    assert {login["tokenUrl"], flows["password"]["tokenUrl"]} == {login["refreshUrl"]}
    provider = re.match(r"https?://[^/]+", login["tokenUrl"])
    assert provider is not None
    assert re.findall(r"https?://[^; ]+", policy) == [provider[0]]
    async with httpx2.AsyncClient() as client:
        realm = login["tokenUrl"].removesuffix("/protocol/openid-connect/token")
        told = (await client.get(f"{realm}/.well-known/openid-configuration")).json()
    assert told["authorization_endpoint"] == login["authorizationUrl"]
    assert told["token_endpoint"] == login["tokenUrl"]
