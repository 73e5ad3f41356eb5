"""Terminal output of the launcher: lines, tables, and colours where the terminal has them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

_CODES = {"green": "32", "red": "31", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}
_lock = threading.Lock()


def paint(text: str, style: str) -> str:
    """Return the text in a colour, or unchanged if stdout is no terminal or NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{_CODES[style]}m{text}\033[0m"


def say(text: str = "") -> None:
    """Print one line to standard output. Lines of concurrent threads do not mix."""
    with _lock:
        print(text, flush=True)


def complain(text: str) -> None:
    """Print one line to standard error."""
    with _lock:
        print(text, file=sys.stderr, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table. Columns of numbers are right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    numeric = [
        all(row[i][:1].isdigit() or row[i] in ("", "-") for row in rows) for i in _all(header)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([paint(line(header), "dim"), *(line(row) for row in rows)])


def _all(header: Sequence[str]) -> range:
    return range(len(header))
