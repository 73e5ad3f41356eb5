"""``make status``: a table of all processes and of the dependencies of each service."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from fleet.errors import NotReady
from fleet.launcher.composition import Fleet, Part
from fleet.launcher.service_program import ServiceProgram
from fleet.terminal import complain, paint, say, table

_STYLE = {"up": "green", "dead": "red", "paused": "yellow", "silent": "yellow", "stopped": "dim"}
_HEADER = ("", "name", "state", "pid", "port", "memory", "uptime", "needs")


@dataclass(frozen=True)
class Row:
    """State of one part; sizes in bytes, uptime in seconds."""

    part: Part
    state: str
    pid: int | None = None
    memory: int = 0
    memory_once: int = 0
    uptime: float = 0.0
    dependencies: dict[str, Any] | None = None


def status(fleet: Fleet) -> int:
    """Print the table. Return 1 if a part has died."""
    with ThreadPoolExecutor(len(fleet.parts)) as pool:
        rows = list(pool.map(examine, fleet.parts))
    say(table(_HEADER, [_cells(row) for row in rows]))
    for external in fleet.externals:
        say(f"   {external.name}: external, {external.host}:{external.port} ({external.variable})")
    total, once = sum(row.memory for row in rows), sum(row.memory_once for row in rows)
    pss = f"{_megabytes(once)} with shared pages counted once"
    say(f"   total memory {_megabytes(total)} RSS; {pss}")
    broken = [row for row in rows if row.state == "dead"]
    for row in broken:
        complain(f"\n{row.part.runner.describe_death()}")
    return 1 if broken else 0


def examine(part: Part) -> Row:
    """Return the state of one part: its process, and its readiness over its own protocol."""
    identity = part.runner.identity
    if identity is None:
        return Row(part, "stopped")
    if not part.runner.alive():
        return Row(part, "dead", identity.pid)
    memory, once, started = 0, 0, time.time()
    try:
        family = identity.family()
        memory = sum(process.memory_info().rss for process in family)
        once = sum(_memory_once(process) for process in family)
        started = family[0].create_time() if family else started
    except psutil.NoSuchProcess:  # it exited in the meantime
        return Row(part, "dead", identity.pid)
    state, dependencies = ("paused", None) if identity.paused() else _ask(part)
    return Row(part, state, identity.pid, memory, once, time.time() - started, dependencies)


def _memory_once(process: psutil.Process) -> int:
    """Return the proportional set size: PostgreSQL's backends share most of their memory.

    Return the RSS where the PSS is not available (another user's process, macOS).
    """
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return int(process.memory_info().rss)


def _ask(part: Part) -> tuple[str, dict[str, Any] | None]:
    program = part.runner.program
    try:
        program.check()
        return "up", program.dependencies() if isinstance(program, ServiceProgram) else None
    except NotReady:
        return "silent", None


def _cells(row: Row) -> tuple[str, ...]:
    ports = " ".join(str(port.number) for port in row.part.runner.program.ports)
    mark = {"up": "●", "dead": "✗"}.get(row.state, "○")
    alive = row.state not in ("dead", "stopped")
    return (
        paint(mark, _STYLE[row.state]),
        row.part.name,
        row.state,
        str(row.pid or "-"),
        ports,
        _megabytes(row.memory) if alive else "-",
        _duration(row.uptime) if alive else "-",
        _needs(row.dependencies),
    )


def _needs(dependencies: dict[str, Any] | None) -> str:
    if not dependencies:
        return ""
    needs = []
    for name, state in dependencies.items():
        status = state.get("status", "?") if isinstance(state, dict) else str(state)
        error = state.get("error") if isinstance(state, dict) else None
        needs.append(f"{name} {status}" + (f" ({error})" if error else ""))
    return ", ".join(needs)


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.0f} MB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
