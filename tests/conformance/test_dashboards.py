"""Alert rules and dashboards use existing metrics, and each alert has a runbook."""

import importlib.util
import re
from types import ModuleType

import httpx2
import pytest
import yaml

from tests.conformance.queries import (
    DASHBOARDS,
    ROOT,
    RULE_TESTS,
    Query,
    dashboards,
    queries,
    rules,
)
from tests.fleet_under_test import SCRAPE_TOKEN, SERVICES, Fleet

PROMETHEUS_OWN = {"up"}
_SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}


def exposed(text: str) -> set[str]:
    """Return the series names of a /metrics page from its TYPE lines."""
    names = set()
    for line in text.splitlines():
        if match := re.match(r"# TYPE (\S+) (\S+)", line):
            names |= {match[1] + suffix for suffix in _SUFFIXES[match[2]]}
    return names


@pytest.fixture(scope="module")
async def exposed_metrics(fleet: Fleet) -> set[str]:
    """All metric names of the running fleet; the gateway needs a token."""
    token = {"Authorization": f"Bearer {SCRAPE_TOKEN}"}
    async with httpx2.AsyncClient(headers=token) as client:
        pages = [await client.get(f"{fleet.url(service)}/metrics") for service in SERVICES]
    assert {page.status_code for page in pages} == {200}
    return set().union(*(exposed(page.text) for page in pages))


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.where)
def test_query_is_valid_promql(query: Query) -> None:
    assert query.metrics()


def test_invalid_promql_and_unknown_metric_are_detected(exposed_metrics: set[str]) -> None:
    with pytest.raises(ValueError, match="unclosed"):
        Query("broken", "sum(rate(x[5m])").metrics()
    assert not Query("misspelt", "max(outbox_oldest_second)").metrics() <= exposed_metrics
    assert Query("ranged", "sum by (a) (rate(x_total{b='c'}[5m])) / y").metrics() == {
        "x_total",
        "y",
    }


def test_every_query_uses_existing_metrics(exposed_metrics: set[str]) -> None:
    unknown = {
        query.where: missing
        for query in queries()
        if (missing := query.metrics() - exposed_metrics - PROMETHEUS_OWN)
    }
    assert not unknown


def test_dashboards_equal_generated_dashboards() -> None:
    program = _load("docker/grafana/dashboards.py")
    written = {board.uid: program.rendered(board) for board in program.ALL}
    assert {board["uid"]: board for board in dashboards()} == written
    assert sorted(path.stem for path in DASHBOARDS.glob("*.json")) == sorted(written)


def test_every_panel_uses_provisioned_data_source() -> None:
    folder = DASHBOARDS.parent / "datasources"
    sources = yaml.safe_load((folder / "datasources.yaml").read_text())["datasources"]
    known = {source["uid"] for source in sources}
    asked = {panel["datasource"]["uid"] for board in dashboards() for panel in board["panels"]}
    assert asked <= known


def test_every_alert_has_firing_test_and_runbook() -> None:
    tests = yaml.safe_load(RULE_TESTS.read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    page = (ROOT / "docs/operations.md").read_text()
    for rule in rules():
        name = rule["alert"]
        assert name in fired, f"{name} has no test in which it fires"
        assert f"`{name}`" in page, f"docs/operations.md does not say what to do at {name}"
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def _load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
