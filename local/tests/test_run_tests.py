"""`make test` runs every suite, and fails when one of them fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import run_tests
from bootstrap import service_folders


def test_every_suite_is_found_and_has_tests() -> None:
    found = {suite.name: suite for suite in run_tests.suites()}
    services = {folder.name for folder in service_folders()}
    assert set(found) == {"local", "chassis", "tests", "judge"} | services
    for suite in found.values():
        assert list((suite.folder / "tests").rglob("test_*.py")), suite.name


def test_every_test_folder_belongs_to_exactly_one_suite() -> None:
    whole, judging = (
        next(suite for suite in run_tests.suites() if suite.name == name)
        for name in ("tests", "judge")
    )
    left_out = {argument.removeprefix("--ignore=") for argument in whole.chosen[1:]}
    # `make check` runs the tests of the structure.
    assert left_out == {*judging.chosen, *run_tests.STRUCTURE}


@pytest.mark.parametrize(
    ("test", "passes", "said"),
    [("assert True", True, "1 passed"), ("assert False", False, "1 failed")],
)
def test_suite_result_is_that_of_its_tests(
    test: str, passes: bool, said: str, tmp_path: Path
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(f"def test_it():\n    {test}\n")
    result = run_tests.run(run_tests.Suite("one", tmp_path, Path(sys.executable)))
    assert result.passed is passes
    assert said in result.summary
    assert bool(result.failures) is not passes


def test_suite_without_tests_fails(tmp_path: Path) -> None:
    assert not run_tests.run(run_tests.Suite("none", tmp_path, Path(sys.executable))).passed
