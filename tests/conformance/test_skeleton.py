"""Common health and error format of the running services.

test_alike.py checks the apps without servers, test_structure.py the source code.
"""

import re

import httpx2
import pytest

from tests.conformance.openapi import assert_describes_every_operation
from tests.fleet_under_test import GATEWAY, SCRAPE_TOKEN, SERVICES, Fleet


@pytest.mark.parametrize("service", SERVICES)
async def test_running_service_reports_health_readiness_and_metrics(
    fleet: Fleet, service: str
) -> None:
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        health = await client.get("/health")
        assert health.status_code == 200
        assert health.json() | {"status": "UP", "service": service} == health.json()
        ready = await client.get("/health/ready")
        assert ready.status_code in (200, 503)
        states = {row["status"] for row in ready.json()["dependencies"].values()}
        assert states <= {"UP", "DEGRADED", "DOWN"}
        if service == GATEWAY:  # its port is public, its metrics need a token
            assert (await client.get("/metrics")).status_code == 404
            wrong = {"Authorization": f"Bearer {SCRAPE_TOKEN}x"}
            assert (await client.get("/metrics", headers=wrong)).status_code == 404
            client.headers["Authorization"] = f"Bearer {SCRAPE_TOKEN}"
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "http_request_duration_seconds_bucket" in metrics.text


@pytest.mark.parametrize("service", SERVICES)
async def test_promise_54_every_error_is_problem_document(fleet: Fleet, service: str) -> None:
    """Promise 54: 404, 405, 413 and errors of malformed requests."""
    target, headers = "/health", {}
    if service == GATEWAY:  # it limits only authorized, forwarded bodies
        target = "/api/products"
        headers = {"Authorization": f"Bearer {fleet.identity.token('admin')}"}
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        answers = [
            (404, await client.get("/api/nowhere")),
            (400 if service == GATEWAY else 404, await client.get("/api/nowhere/%00")),
            (405, await client.delete("/health")),
            (413, await client.post(target, content=b"x" * 1_000_001, headers=headers)),
        ]
    for status, answer in answers:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert {"type", "title", "status", "detail", "instance", "trace_id"} <= body.keys()
        assert body["status"] == status
        assert body["trace_id"] == answer.headers["x-trace-id"]


@pytest.mark.parametrize("service", SERVICES)
async def test_openapi_document_describes_every_operation_and_its_errors(
    fleet: Fleet, service: str
) -> None:
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        document = (await client.get("/openapi.json")).json()
    assert_describes_every_operation(document, service)


@pytest.mark.parametrize("service", SERVICES)
async def test_api_page_loads_from_own_host_only(fleet: Fleet, service: str) -> None:
    """The page works without internet access: all resources come from the service itself."""
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        page = await client.get("/docs")
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert re.match(r"default-src 'none'; script-src 'self' 'sha256-[\w+/=]+'; ", policy)
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(addresses) >= 3  # icon, style, Swagger UI
        for address in addresses:
            assert re.fullmatch(r"docs/[\w.-]+(\?[\w.-]+)?", address), address
            answer = await client.get(f"/{address}")
            assert answer.status_code == 200, address
            if "text/css" in answer.headers["content-type"]:
                fetched = re.findall(r"url\((?![\"']?data:)|@import", answer.text)
                assert not fetched
        assert (await client.get("/redoc")).status_code == 404
