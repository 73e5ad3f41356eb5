"""All services have one skeleton, one way to say how they are, and one way to say no."""

import re
from pathlib import Path

import httpx2
import pytest

from fleet.services import SERVICES as TABLE
from tests.fleet_under_test import GATEWAY, ROOT, SCRAPE_TOKEN, SERVICES, Fleet

DOCUMENTS = {
    "product-service": "product-service-docs.md",
    "order-service": "order-docs.md",
    "inventory-service": "inventory-docs.md",
    "notification-service": "notification-docs.md",
    GATEWAY: "gateway-docs.md",
    "ai-service": "ai-docs.md",
}


def sources(service: str) -> list[Path]:
    return sorted((ROOT / service / "app").rglob("*.py"))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_what_every_service_has(service: str) -> None:
    folder = ROOT / service
    needed = [
        "app/main.py",
        "app/config.py",
        "Makefile",
        "pyproject.toml",
        "requirements.in",
        "requirements.txt",
        "requirements-dev.txt",
        "tests/unit",
        "tests/integration",
        "tests/contract",
        DOCUMENTS[service],
    ]
    missing = [name for name in needed if not (folder / name).exists()]
    assert not missing
    assert len((folder / "app/main.py").read_text().splitlines()) <= 65


@pytest.mark.parametrize("service", SERVICES)
def test_every_requirement_is_pinned_and_comes_from_no_particular_place(service: str) -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / service / name).read_text().splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            assert "==" in line or line.startswith("-e ../"), f"{service}/{name}: {line}"
            assert "://" not in line


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_uses_what_the_project_has_left_behind(service: str) -> None:
    """Motor and httpx have successors here; the base middleware class costs and cancels."""
    old = r"^\s*(import|from) (motor|httpx|requests)\b|BaseHTTPMiddleware"
    banned = re.compile(old, re.MULTILINE)
    offending = [str(path) for path in sources(service) if banned.search(path.read_text())]
    assert not offending


def test_the_chassis_holds_no_word_of_the_domain() -> None:
    words = re.compile(r"\b(order|product|stock|inventory|customer|basket)s?\b", re.IGNORECASE)
    allowed = re.compile(r"in order|order (of|for|by|is|was|per)|keep.* order|order kept|`[^`]*`")
    for path in sorted((ROOT / "libs/chassis/chassis").rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if words.search(allowed.sub("", line)) and "ORDER BY" not in line:
                pytest.fail(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_says_that_it_is_alive_and_what_it_needs(
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
        if service == GATEWAY:  # its port is for everybody, its metrics are not
            assert (await client.get("/metrics")).status_code == 404
            wrong = {"Authorization": f"Bearer {SCRAPE_TOKEN}x"}
            assert (await client.get("/metrics", headers=wrong)).status_code == 404
            client.headers["Authorization"] = f"Bearer {SCRAPE_TOKEN}"
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "http_request_duration_seconds_bucket" in metrics.text


@pytest.mark.parametrize("service", SERVICES)
async def test_promise_54_every_refusal_is_a_problem_document(fleet: Fleet, service: str) -> None:
    """Promise 54: 404, 405, 413 and whatever a garbled request earns."""
    target, headers = "/health", {}
    if service == GATEWAY:  # it measures only what it would pass on, for who may send it
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
async def test_the_openapi_document_tells_every_call_and_its_errors(
    fleet: Fleet, service: str
) -> None:
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        document = (await client.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{service} {method.upper()} {path}"
            assert operation.get("tags"), where
            assert operation.get("summary"), where
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")) and not path.startswith("/health"):
                    assert list(response["content"]) == ["application/problem+json"], where


@pytest.mark.parametrize("service", SERVICES)
async def test_the_api_page_needs_no_host_but_its_own(fleet: Fleet, service: str) -> None:
    """It works without the internet: all that a browser fetches for it is answered here."""
    async with httpx2.AsyncClient(base_url=fleet.url(service)) as client:
        page = await client.get("/docs")
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(addresses) >= 4  # icon, style, Swagger UI, what starts it
        for address in addresses:
            assert re.fullmatch(r"docs/[\w.-]+(\?[\w.-]+)?", address), address
            answer = await client.get(f"/{address}")
            assert answer.status_code == 200, address
            if "text/css" in answer.headers["content-type"]:
                fetched = re.findall(r"url\((?![\"']?data:)|@import", answer.text)
                assert not fetched
        assert (await client.get("/redoc")).status_code == 404


def test_the_launcher_knows_every_service_folder() -> None:
    known = {service.name for service in TABLE}
    assert {path.parent.parent.name for path in ROOT.glob("*-service/app/main.py")} <= known
