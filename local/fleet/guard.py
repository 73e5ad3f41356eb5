"""Cleans up after a test run that was killed.

Fixtures stop their servers themselves; a run that dies by SIGKILL cannot. This process waits for
the end of its standard input, which the system closes with the run, however it ended, and then
removes what the lines it has read by then name: ``pid-file <path>`` and ``folder <path>``.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

from fleet.identity import PidFile


def main() -> None:
    """Read lines until the end of the input, then kill and remove."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pid_files: list[PidFile] = []
    folders: list[Path] = []
    for line in sys.stdin:
        kind, _, path = line.rstrip("\n").partition(" ")
        if kind == "pid-file":
            pid_files.append(PidFile(Path(path)))
        elif kind == "folder":
            folders.append(Path(path))
    for pid_file in pid_files:
        identity = pid_file.read()
        if identity is not None:
            identity.signal_family(signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
