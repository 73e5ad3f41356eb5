"""Identify a process by its pid and start time, because the system reuses pids."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Identity:
    """One process; ``birth`` distinguishes it from a later process with the same pid."""

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Return the identity of a running process; raise ``psutil.NoSuchProcess`` otherwise."""
        return cls(pid, _birth(pid))

    def process(self) -> psutil.Process | None:
        """Return the process, or None if it has exited or its pid belongs to another process."""
        try:
            process = psutil.Process(self.pid)
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return None
            return process if _birth(self.pid) == self.birth else None
        except _GONE:
            return None

    def alive(self) -> bool:
        """Return whether the process runs or is paused."""
        return self.process() is not None

    def paused(self) -> bool:
        """Return whether the process is stopped by SIGSTOP."""
        process = self.process()
        try:
            return process is not None and process.status() == psutil.STATUS_STOPPED
        except _GONE:
            return False

    def family(self) -> list[psutil.Process]:
        """Return the process and its descendants, parent first.

        A process group is not enough: each PostgreSQL backend has its own session.
        """
        process = self.process()
        if process is None:
            return []
        try:
            return [process, *process.children(recursive=True)]
        except _GONE:
            return []

    def signal_family(self, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to the process and its descendants, the parent first."""
        family = self.family()
        for process in family:
            with contextlib.suppress(*_GONE):
                process.send_signal(number)
        return family

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        process = self.process()
        if process is not None:
            with contextlib.suppress(*_GONE):
                process.send_signal(number)


def _birth(pid: int) -> str:
    """Return the start time of a process in a form that a clock adjustment does not change.

    psutil's create_time depends on the wall clock. On Linux the boot id and the kernel's tick
    count do not.
    """
    if not _BOOT_ID.exists():  # not Linux
        return f"{psutil.Process(pid).create_time():.2f}"
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    started = stat.rpartition(")")[2].split()[19]
    return f"{_BOOT_ID.read_text(encoding='ascii').strip()}/{started}"


class PidFile:
    """A file that stores the identity of a started process between two commands."""

    def __init__(self, path: Path) -> None:
        """Keep the path. The file need not exist."""
        self.path = path

    def read(self) -> Identity | None:
        """Return the stored process, running or not, or None."""
        fields = self._fields()
        try:
            return Identity(pid=int(fields["pid"]), birth=str(fields["birth"]))
        except (ValueError, KeyError, TypeError):
            return None

    def write(self, identity: Identity) -> None:
        """Record a started process."""
        self._replace(asdict(identity))

    def _fields(self) -> dict[str, Any]:
        try:
            fields = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return fields if isinstance(fields, dict) else {}

    def _replace(self, fields: Mapping[str, object]) -> None:
        """Replace the file atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(fields) + "\n", encoding="utf-8")
        draft.replace(self.path)

    def mark_killed(self) -> None:
        """Record that the user killed the process that the file names."""
        identity = self.read()
        if identity is not None:
            self._replace({**asdict(identity), "killed": True})

    def killed(self) -> bool:
        """Return whether the user killed the process that the file names."""
        return bool(self._fields().get("killed"))

    def clear(self) -> None:
        """Delete the file, after a regular stop."""
        self.path.unlink(missing_ok=True)
