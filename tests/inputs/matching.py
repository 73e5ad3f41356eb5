"""Compare JSON with an expectation that names only what matters."""

import re
from dataclasses import dataclass
from types import UnionType
from typing import Any


@dataclass(frozen=True)
class Contains:
    """A list with a matching element, or a text with this part."""

    part: Any


@dataclass(frozen=True)
class Excludes:
    """A list without a matching element, or a text without this part."""

    part: Any


@dataclass(frozen=True)
class Each:
    """A list, not empty, whose elements all meet the same expectation."""

    expected: Any


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included."""

    low: float
    high: float


ABSENT = type(None)


def mismatch(expected: Any, actual: Any, where: str = "answer") -> str:
    """Return why `actual` does not meet the expectation, or an empty string.

    A mapping is met by an object with these members among others, a list by one whose elements
    meet its own, a tuple by a value that meets every part, a pattern by a search in the text, a
    type by an instance, any other expectation by an equal value.
    """
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return f"{where} is {actual!r}, not an object"
        return _first(mismatch(e, actual.get(n), f"{where}.{n}") for n, e in expected.items())
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return f"{where} is {actual!r}, not a list of {len(expected)}"
        pairs = enumerate(zip(expected, actual, strict=True))
        return _first(mismatch(e, a, f"{where}[{n}]") for n, (e, a) in pairs)
    if isinstance(expected, tuple):
        return _first(mismatch(part, actual, where) for part in expected)
    return "" if _meets(expected, actual) else f"{where} is {actual!r}, expected {expected!r}"


def _meets(expected: Any, actual: Any) -> bool:
    if isinstance(expected, Contains):
        return _contains(expected.part, actual)
    if isinstance(expected, Excludes):
        return not _contains(expected.part, actual)
    if isinstance(expected, Each):
        return bool(actual) and all(not mismatch(expected.expected, each) for each in actual)
    if isinstance(expected, Between):
        return bool(expected.low <= actual <= expected.high)
    if isinstance(expected, re.Pattern):
        return bool(expected.search(str(actual)))
    if isinstance(expected, type | UnionType):
        return isinstance(actual, expected)
    return bool(expected == actual)


def _contains(part: Any, actual: Any) -> bool:
    if isinstance(actual, str):
        return part in actual
    return any(not mismatch(part, element) for element in actual)


def _first(mismatches: Any) -> str:
    return next(filter(None, mismatches), "")
