"""tests/README.md is whole, and every test that it names exists."""

import re

from tests.fleet_under_test import ROOT

PROMISES = 62
TABLE = (ROOT / "tests" / "README.md").read_text()
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w./-]+\.py)(?:::(\w+))?`")

# What must be shown by now; the rest may still say "not yet".
SHOWN = {
    *range(1, 8),
    *(9, 10, 11, 15, 16, 18, 19, 23, 24, 25),
    *range(29, 61),
    62,
}


def test_every_promise_has_one_row() -> None:
    assert [int(row[0]) for row in ROW.findall(TABLE)] == list(range(1, PROMISES + 1))


def test_every_row_names_a_test_or_says_not_yet() -> None:
    for number, _, shown in ROW.findall(TABLE):
        assert TEST.search(shown) or "not yet" in shown, f"promise {number}"
        if int(number) in SHOWN:
            assert "not yet" not in shown, f"promise {number}"
            assert any(name for _, name in TEST.findall(shown)), f"promise {number}"


def test_every_test_that_is_named_exists() -> None:
    for path, name in TEST.findall(TABLE):
        source = (ROOT / path).read_text()
        assert not name or f"def {name}(" in source, f"{path}::{name}"
