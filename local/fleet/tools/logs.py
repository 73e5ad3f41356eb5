"""``make logs``: print and follow the logs of one part or of all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleet.errors import FleetError
from fleet.launcher.composition import Part
from fleet.processes.log_format import pretty
from fleet.terminal import paint, say

_PAUSE = 0.2


class Tail:
    """The last lines of a log file, and the lines appended later."""

    def __init__(self, path: Path) -> None:
        """``path`` need not exist yet."""
        self._path = path
        self._position = 0
        self._rest = b""

    def last(self, lines: int) -> list[str]:
        """Return the last lines. Later lines are returned by ``new``."""
        content = self._path.read_bytes() if self._path.exists() else b""
        whole, newline, self._rest = content.rpartition(b"\n")
        self._position = len(content)
        return (whole + newline).decode("utf-8", "replace").splitlines()[-lines:] if lines else []

    def new(self) -> Iterator[str]:
        """Yield the lines since the last call. A smaller file was rotated: read it from 0."""
        if not self._path.exists():
            return
        if self._path.stat().st_size < self._position:
            self._position, self._rest = 0, b""
        with self._path.open("rb") as log:
            log.seek(self._position)
            content = log.read()
        self._position += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")


def show(parts: Sequence[Part], lines: int, *, follow: bool) -> None:
    """Print the last lines of each log, then new lines until Ctrl-C."""
    width = max(len(part.name) for part in parts) if len(parts) > 1 else 0
    tails = [(part.name if width else "", Tail(part.runner.log)) for part in parts]
    for name, tail in tails:
        _print(name, width, tail.last(lines))
    while follow:
        for name, tail in tails:
            _print(name, width, tail.new())
        time.sleep(_PAUSE)


def show_matching(parts: Sequence[Part], text: str) -> None:
    """Print the lines of all logs that contain a text, such as a trace id, ordered by time."""
    found = sorted(
        (_timestamp(line), part.name, line)
        for part in parts
        for line in _all_lines(part.runner.log)
        if text in line
    )
    if not found:
        raise FleetError(f"No log line contains {text!r}.")
    width = max(len(name) for _, name, _ in found)
    for _, name, line in found:
        _print(name, width, [line])


def _all_lines(log: Path) -> Iterator[str]:
    """Yield the lines of a log, the rotated file first."""
    for path in (log.with_suffix(".log.1"), log):
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as lines:
                yield from (line.rstrip("\n") for line in lines)


def _timestamp(line: str) -> str:
    """Return the timestamp of a JSON line, or an empty text."""
    try:
        record = json.loads(line)
    except ValueError:
        return ""
    return str(record.get("timestamp", "")) if isinstance(record, dict) else ""


def _print(name: str, width: int, lines: Iterator[str] | list[str]) -> None:
    prefix = paint(name.ljust(width), "blue") + "  " if name else ""
    for line in lines:
        say(prefix + pretty(line))
