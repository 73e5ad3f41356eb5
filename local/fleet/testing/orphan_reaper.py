"""Stop the servers of a test run that was killed.

Fixtures stop their servers, except after a SIGKILL of the run. This process waits for the end of
its standard input, which the system closes when the run ends. Then it kills all processes
recorded in the state folder (its argument) and deletes the folder.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

from fleet.processes.process_identity import PidFile


def main(folder: Path) -> None:
    """Wait for the end of standard input, then kill the servers and delete the folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    for path in folder.glob("run/*.json"):
        identity = PidFile(path).read()
        if identity is not None:
            identity.signal_family(signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
