"""An expectation is met by the values that it describes, and by no others."""

import re
from typing import Any

import pytest

from tests.inputs.matching import ABSENT, Between, Contains, Each, Excludes, mismatch

MET: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": ABSENT}, {"b": 2}),
    ([1, {"a": 2}], [1, {"a": 2, "b": 3}]),
    ((Contains(1), Excludes(3)), [1, 2]),
    (Contains("b"), "abc"),
    (Each(int | float), [1, 2.5]),
    (Between(1, 2), 2),
    (re.compile("^a"), "abc"),
    (str, "abc"),
    (None, None),
]
NOT_MET: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, []),
    ({"a": ABSENT}, {"a": 1}),
    ([1], [1, 2]),
    ([1], {"a": 1}),
    ((Contains(1), Excludes(2)), [1, 2]),
    (Contains({"a": 1}), [{"a": 2}]),
    (Excludes("b"), "abc"),
    (Each(int), []),
    (Each(int), [1, "2"]),
    (Between(1, 2), 2.01),
    (re.compile("^b"), "abc"),
    (str, 1),
    (1, "1"),
]


@pytest.mark.parametrize(("expected", "actual"), MET)
def test_value_meets_expectation(expected: Any, actual: Any) -> None:
    assert mismatch(expected, actual) == ""


@pytest.mark.parametrize(("expected", "actual"), NOT_MET)
def test_other_value_does_not_meet_expectation(expected: Any, actual: Any) -> None:
    assert mismatch(expected, actual) != ""
