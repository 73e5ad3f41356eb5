"""Where a test session's servers live, and who ends them when nobody else can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeVar

from fleet.processes.program import Program
from fleet.processes.runner import Runner

P = TypeVar("P", bound=Program)


class TemporaryServers:
    """The folder and the guard of one test session's servers."""

    def __init__(self) -> None:
        """Make the folder (``nobody`` runs PostgreSQL there for root) and start the guard."""
        self.folder = Path(tempfile.mkdtemp(prefix="fleet-test-", dir=_reachable_by_all()))
        self.folder.chmod(0o711)
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "fleet.testing.orphan_reaper", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start(self, program: P) -> Runner[P]:
        """Start a program and return it running."""
        runner = Runner(program, self.folder)
        runner.start()
        return runner

    def remove(self) -> None:
        """Remove the folder and let the guard go."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._guard.communicate(timeout=10)


def _reachable_by_all() -> str | None:
    """A temporary folder whose parents ``nobody`` may pass; the user's own suits everyone else."""
    shared = "/var/tmp"  # noqa: S108 - mkdtemp makes a name nobody can guess
    return shared if os.geteuid() == 0 and os.access(shared, os.W_OK) else None
