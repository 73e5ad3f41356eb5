"""Bytes of a message as text that cannot do harm: to a terminal, to UTF-8, to a person's patience.

What stands in a message was written by others, perhaps to be shown.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, NoReturn

_TAB_AND_LINES = "\t\n"
_LAST_MOMENT = 253_402_300_799_000  # the end of the year 9999, in milliseconds


def text_of(value: bytes | None) -> str:
    """As UTF-8; what is not UTF-8 stays visible as ``\\xff``."""
    return "" if value is None else value.decode("utf-8", "backslashreplace")


def moment_of(timestamp: int) -> datetime:
    """A record's timestamp (milliseconds, written by its producer, so any number) as a moment."""
    return datetime.fromtimestamp(min(max(0, timestamp), _LAST_MOMENT) / 1000, UTC)


def parsed(text: str) -> Any:
    """The JSON in a text; raises ``ValueError`` where there is none that others would read too."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def pretty(text: str) -> str:
    """JSON on lines of its own, anything else as it is."""
    try:
        return json.dumps(parsed(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def for_terminal(text: str) -> str:
    """Without the control characters by which a text could command the terminal."""
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
    raise ValueError(f"{constant} is no JSON")
