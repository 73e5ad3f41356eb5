"""Alert rules and dashboards ask for what the services really tell, and each alert has its page."""

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
    """The series names of a /metrics page: families are declared before their first sample."""
    names = set()
    for line in text.splitlines():
        if match := re.match(r"# TYPE (\S+) (\S+)", line):
            names |= {match[1] + suffix for suffix in _SUFFIXES[match[2]]}
    return names


@pytest.fixture(scope="module")
async def told(fleet: Fleet) -> set[str]:
    """Every name that the running fleet tells, the gateway's by its token."""
    token = {"Authorization": f"Bearer {SCRAPE_TOKEN}"}
    async with httpx2.AsyncClient(headers=token) as client:
        pages = [await client.get(f"{fleet.url(service)}/metrics") for service in SERVICES]
    assert {page.status_code for page in pages} == {200}
    return set().union(*(exposed(page.text) for page in pages))


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.where)
def test_a_query_is_promql(query: Query) -> None:
    assert query.metrics()


def test_what_is_no_promql_or_names_no_metric_is_found_out(told: set[str]) -> None:
    with pytest.raises(ValueError, match="unclosed"):
        Query("broken", "sum(rate(x[5m])").metrics()
    assert not Query("misspelt", "max(outbox_oldest_second)").metrics() <= told
    assert Query("ranged", "sum by (a) (rate(x_total{b='c'}[5m])) / y").metrics() == {
        "x_total",
        "y",
    }


def test_every_query_names_metrics_that_the_services_tell(told: set[str]) -> None:
    unknown = {
        query.where: missing
        for query in queries()
        if (missing := query.metrics() - told - PROMETHEUS_OWN)
    }
    assert not unknown


def test_the_dashboards_are_what_their_program_writes() -> None:
    program = _load("docker/grafana/dashboards.py")
    written = {board.uid: program.rendered(board) for board in program.ALL}
    assert {board["uid"]: board for board in dashboards()} == written
    assert sorted(path.stem for path in DASHBOARDS.glob("*.json")) == sorted(written)


def test_every_panel_asks_a_data_source_that_is_provisioned() -> None:
    folder = DASHBOARDS.parent / "datasources"
    sources = yaml.safe_load((folder / "datasources.yaml").read_text())["datasources"]
    known = {source["uid"] for source in sources}
    asked = {panel["datasource"]["uid"] for board in dashboards() for panel in board["panels"]}
    assert asked <= known


def test_every_alert_has_a_test_in_which_it_fires_and_a_page_that_says_what_to_do() -> None:
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
