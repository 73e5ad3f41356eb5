"""The API page of the gateway, which merges the OpenAPI documents of the services."""

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
    """Replace each reference by its target, so that component names do not matter."""
    if isinstance(value, list):
        return [resolved(item, document) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        _, components, section, name = value["$ref"].split("/")
        return resolved(document[components][section][name], document)
    return {key: resolved(item, document) for key, item in value.items()}


async def test_gateway_document_is_valid_and_contains_all_operations(fleet: Fleet) -> None:
    merged = await document_of(fleet, "api-gateway")
    OpenAPIV31SpecValidator(merged).validate()
    theirs: set[tuple[str, str]] = set()
    for service in APIS:
        theirs |= operations(await document_of(fleet, service)).keys()
    assert operations(merged).keys() == theirs
    assert {tag["name"] for tag in merged["tags"]} == set(APIS)


@pytest.mark.parametrize("service", APIS)
async def test_operation_at_gateway_equals_operation_of_service(fleet: Fleet, service: str) -> None:
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


async def test_every_operation_documents_its_roles_and_gateway_errors(fleet: Fleet) -> None:
    for key, operation in operations(await document_of(fleet, "api-gateway")).items():
        assert operation["description"].startswith("**For "), key
        is_public = operation["description"].startswith("**For anyone.**")
        assert is_public == (operation["security"] == []), key
        expected = {"401", "429", "502", "503", "504"} | (set() if is_public else {"403"})
        assert expected <= operation["responses"].keys(), key
        for status in expected:
            content = operation["responses"][status]["content"]
            assert list(content) == ["application/problem+json"], key


async def test_api_page_contacts_only_gateway_and_identity_provider(
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
        assert (
            "cross-origin-opener-policy" not in headers
        )  # it would separate the page from the login window
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
