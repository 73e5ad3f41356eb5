"""tests/README.md is whole, and every test that it names exists."""

import re

from tests.fleet_under_test import ROOT

PROMISES = [*range(1, 63), 66, 67]
TABLE = (ROOT / "tests" / "README.md").read_text()
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w./-]+\.py)(?:::(\w+))?`")


def test_every_promise_has_one_row() -> None:
    assert [int(row[0]) for row in ROW.findall(TABLE)] == PROMISES


def test_every_row_names_a_test() -> None:
    for number, _, shown in ROW.findall(TABLE):
        assert any(name for _, name in TEST.findall(shown)), f"promise {number}"


def test_every_test_that_is_named_exists() -> None:
    for path, name in TEST.findall(TABLE):
        source = (ROOT / path).read_text()
        assert not name or f"def {name}(" in source, f"{path}::{name}"
