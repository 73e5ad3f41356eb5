"""A temporary folder for servers of tests, which are stopped even if the test run is killed."""

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
    """The folder of a test session's servers, and the process that stops orphaned servers."""

    def __init__(self) -> None:
        """Create the folder and start the orphan reaper."""
        self.folder = Path(tempfile.mkdtemp(prefix="fleet-test-", dir=_reachable_by_all()))
        self.folder.chmod(0o711)
        self._reaper = subprocess.Popen(
            [sys.executable, "-m", "fleet.testing.orphan_reaper", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start(self, program: P) -> Runner[P]:
        """Start a program; return its runner when it is ready."""
        runner = Runner(program, self.folder)
        runner.start()
        return runner

    def remove(self) -> None:
        """Delete the folder and stop the orphan reaper."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._reaper.communicate(timeout=10)


def _reachable_by_all() -> str | None:
    """Return the parent for the folder: for root one that PostgreSQL's user can enter."""
    shared = "/var/tmp"  # noqa: S108 - mkdtemp chooses an unpredictable name
    return shared if os.geteuid() == 0 and os.access(shared, os.W_OK) else None
