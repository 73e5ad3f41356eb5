"""The tables of tests/README.md are complete, and every listed test exists."""

import re

from tests.fleet_under_test import ROOT
from tests.inputs.table import ROWS

PROMISES = [*range(1, 69)]
TABLES = (ROOT / "tests" / "README.md").read_text()
PROMISE = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
REPORT = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w./-]+\.py)((?:::\w+)*)(?:\[[^`]+\])?`")


def test_every_promise_has_one_row() -> None:
    assert [int(row[0]) for row in PROMISE.findall(TABLES)] == PROMISES


def test_every_row_lists_a_test() -> None:
    for number, _, shown in PROMISE.findall(TABLES) + REPORT.findall(TABLES):
        assert any(names for _, names in TEST.findall(shown)), number


def test_every_listed_test_exists() -> None:
    for path, names in TEST.findall(TABLES):
        source = (ROOT / path).read_text()
        for name in names.split("::")[1:]:
            assert f"def {name}(" in source or f"class {name}" in source, f"{path}::{name}"


def test_every_reported_input_has_one_row() -> None:
    ids = [row[0] for row in REPORT.findall(TABLES)]
    assert len(ids) == len(set(ids))


def test_row_of_reported_input_lists_its_fleet_test() -> None:
    shown = {row[0]: row[2] for row in REPORT.findall(TABLES)}
    named = {id_ for id_, tests in shown.items() if f"test_reported_input[{id_}]`" in tests}
    assert named == {case.id for case in ROWS}
