"""Format JSON log lines for a terminal."""

from __future__ import annotations

import json
from typing import Any

from fleet.terminal import paint

_LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}
_SHOWN = ("timestamp", "time", "level", "message", "msg", "event")
_LEFT_OUT = ("service", "logger", "environment", "span_id")


def pretty(line: str) -> str:
    """Format a JSON line as time, level, message and other fields; return other lines unchanged."""
    try:
        record = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    moment = str(record.get("timestamp") or record.get("time") or "")
    level = str(record.get("level", "")).upper()
    message = record.get("message") or record.get("msg") or record.get("event") or ""
    left = (*_SHOWN, *_LEFT_OUT)
    rest = " ".join(f"{key}={_short(value)}" for key, value in record.items() if key not in left)
    shown = paint(f"{level:<7}", _LEVELS.get(level, "green"))
    return f"{paint(_clock(moment), 'dim')} {shown} {message} {paint(rest, 'dim')}".rstrip()


def _clock(moment: str) -> str:
    """Return the time of day of a timestamp, such as 12:34:56.789."""
    return moment.partition("T")[2][:12].rstrip("Z") or moment


def _short(value: Any) -> str:
    if isinstance(value, str) and "\n" in value:  # a traceback
        return "\n" + value
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
