"""All PromQL queries of alert rules and dashboards; `make check` parses them.

`python -m tests.conformance.queries` needs no server. promtool runs the tests of the alert rules
(local/checks/promtool.py).
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "docker/prometheus/alerts.yml"
RULE_TESTS = RULES.with_name("alerts.test.yml")
DASHBOARDS = ROOT / "docker/grafana/provisioning/dashboards"

# Variables that Grafana substitutes.
_VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$job": ".*"}


@dataclass(frozen=True)
class Query:
    where: str
    text: str

    @property
    def promql(self) -> str:
        text = self.text
        for name, value in _VARIABLES.items():
            text = text.replace(name, value)
        return text

    def metrics(self) -> set[str]:
        """Return the selected metric names. Raises ValueError for invalid PromQL."""
        names: set[str] = set()

        def visit(node: Any) -> None:
            selector = getattr(node, "vector_selector", node)
            if isinstance(selector, promql_parser.VectorSelector) and selector.name:
                names.add(selector.name)

        promql_parser.walk(promql_parser.parse(self.promql), pre_visit=visit)
        return names


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))]


def queries() -> Iterator[Query]:
    for rule in rules():
        yield Query(f"alert {rule['alert']}", rule["expr"])
    for board in dashboards():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield Query(f"{board['uid']}: {panel['title']}", target["expr"])


def main() -> int:
    found = list(queries())
    for query in found:
        try:
            query.metrics()
        except ValueError as error:
            print(f"{query.where}: {error}\n    {query.text}")
            return 1
    print(f"{len(found)} queries parse.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
