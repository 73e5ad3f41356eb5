"""Convert bytes of Kafka records, which are untrusted input, to text that is safe to display."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, NoReturn

_TAB_AND_LINES = "\t\n"
_LAST_MOMENT = 253_402_300_799_000  # the end of the year 9999, in milliseconds


def text_of(value: bytes | None) -> str:
    """Decode UTF-8. Show invalid bytes as ``\\xff``."""
    return "" if value is None else value.decode("utf-8", "backslashreplace")


def moment_of(timestamp: int) -> datetime:
    """Convert a record's timestamp (milliseconds, any number) to a datetime within its range."""
    return datetime.fromtimestamp(min(max(0, timestamp), _LAST_MOMENT) / 1000, UTC)


def parsed(text: str) -> Any:
    """Parse JSON; raise ``ValueError`` also for NaN, infinities and deep nesting."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def pretty(text: str) -> str:
    """Indent JSON; return other text unchanged."""
    try:
        return json.dumps(parsed(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def for_terminal(text: str) -> str:
    """Escape control characters."""
    return "".join(
        character
        if character.isprintable() or character in _TAB_AND_LINES
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _refuse(number)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not valid JSON")
