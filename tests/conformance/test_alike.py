"""Common behaviour of all services: health, errors, metrics and OpenAPI documents.

Each app is created by its own interpreter and called in its own process, without a server, database
or broker. Services are discovered by their folders, so new ones are checked automatically.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.openapi import assert_describes_every_operation
from tests.fleet_under_test import GATEWAY, ROOT, SCRAPE_TOKEN

FOLDERS = sorted(path.parent for path in ROOT.glob("*/app"))
PROBE = Path(__file__).with_name("probe.py")
SETTINGS = {
    "DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
    "METRICS_TOKEN": SCRAPE_TOKEN,
}
TOO_LONG = 1_000_001
PROBLEM = {"type", "title", "status", "detail", "instance", "trace_id"}

each_service = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def templates(folder: Path) -> list[str]:
    """Return the paths of the service's API that contain a parameter."""
    document = json.loads((ROOT / "contracts/openapi" / f"{folder.name}.json").read_text())
    return [path for path, item in document["paths"].items() if "{" in path and "get" in item]


@cache
def answers(folder: Path) -> dict[str, Answer]:
    """Return a service's responses to all calls; cached."""
    bearer = {"authorization": f"Bearer {SCRAPE_TOKEN}"}
    calls: dict[str, tuple[str, str, dict[str, str], int]] = {
        "health": ("GET", "/health", {}, 0),
        "ready": ("GET", "/health/ready", {}, 0),
        "nowhere": ("GET", "/api/nowhere", {}, 0),
        "wrong method": ("DELETE", "/health", {}, 0),
        "too long": ("GET" if folder.name == GATEWAY else "POST", too_long(folder), {}, TOO_LONG),
        "docs": ("GET", "/docs", {}, 0),
        "openapi": ("GET", "/openapi.json", {}, 0),
        **{
            path: ("GET", re.sub(r"\{\w+\}", "something", path), {}, 0)
            for path in templates(folder)
        },
        "metrics": ("GET", "/metrics", bearer, 0),
    }
    done = subprocess.run(
        [str(folder / "venv" / "bin" / "python"), str(PROBE)],
        cwd=folder,
        env={"PYTHONPATH": str(folder), **SETTINGS},
        input=json.dumps(list(calls.values())),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The output also contains the service's log, one JSON object per line.
    (told,) = (line for line in done.stdout.splitlines() if line.startswith("["))
    return {name: Answer(*each) for name, each in zip(calls, json.loads(told), strict=True)}


def too_long(folder: Path) -> str:
    """Return a target for a long body; the gateway limits only forwarded bodies."""
    return "/api/products" if folder.name == GATEWAY else "/health"


@each_service
def test_health_returns_status_and_service_name(folder: Path) -> None:
    answer = answers(folder)["health"]
    assert answer.status == 200
    assert answer.body | {"status": "UP", "service": folder.name} == answer.body


@each_service
def test_readiness_lists_dependencies_in_common_format(folder: Path) -> None:
    """No dependency is available: critical ones are DOWN with status 503, others DEGRADED."""
    answer = answers(folder)["ready"]
    assert answer.body.keys() == {"status", "service", "dependencies"}
    assert answer.body["service"] == folder.name
    rows = answer.body["dependencies"].values()
    assert rows, "every service has a dependency"
    for row in rows:
        assert row.keys() == {"status", "milliseconds", "error"}
        assert row["status"] in ("UP", "DEGRADED", "DOWN")
        assert (row["error"] is None) is (row["status"] == "UP")
    down = any(row["status"] == "DOWN" for row in rows)
    assert answer.status == (503 if down else 200)


@each_service
@pytest.mark.parametrize(
    ("name", "status"), [("nowhere", 404), ("wrong method", 405), ("too long", 413)]
)
def test_promise_54_error_is_problem_document_with_logged_trace_id(
    folder: Path, name: str, status: int
) -> None:
    answer = answers(folder)[name]
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body.keys() >= PROBLEM
    assert answer.body["status"] == status
    assert re.fullmatch(r"[0-9a-f]{32}", answer.body["trace_id"])
    assert answer.body["trace_id"] == answer.headers["x-trace-id"]


@each_service
def test_request_metrics_use_route_templates(folder: Path) -> None:
    """Metrics by requested path would let clients create any number of series."""
    answer = answers(folder)["metrics"]
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    counted = re.findall(
        r'^http_request_duration_seconds_count\{.*route="([^"]*)".*\}', answer.text, re.MULTILINE
    )
    assert {"/health", "/health/ready", "unmatched"} <= set(counted)
    assert set(templates(folder)) <= set(counted)
    assert not [route for route in counted if "something" in route or "nowhere" in route]


@each_service
def test_service_has_api_page_and_openapi_document(folder: Path) -> None:
    page, document = (answers(folder)[name] for name in ("docs", "openapi"))
    assert page.status == document.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    assert document.body["openapi"].startswith("3.1")
    if folder.name == GATEWAY:
        return  # its document is merged from the services' documents, which are unavailable here
    assert {"/health", "/health/ready"} <= document.body["paths"].keys()
    assert_describes_every_operation(document.body, folder.name)
