"""Flame graphs of running services, recorded by py-spy."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fleet_under_load import FleetUnderLoad
from fleet.errors import FleetError
from fleet.terminal import say

_PYSPY = Path(sys.prefix) / "bin" / "py-spy"


@contextmanager
def recorded(fleet: FleetUnderLoad, services: Sequence[str], folder: Path) -> Iterator[None]:
    """Record a flame graph `<service>.svg` of each service during the block.

    May need root, because some systems restrict access to the memory of other processes.
    """
    if not _PYSPY.exists():
        raise FleetError("py-spy is not installed: make setup-dev")
    folder.mkdir(parents=True, exist_ok=True)
    running = []
    for name in services:
        output = folder / f"{name}.svg"
        command = [str(_PYSPY), "record", "--pid", str(fleet.pid(name)), "--rate", "250"]
        command += ["--nonblocking", "--format", "flamegraph", "--output", str(output)]
        # --nonblocking does not pause the service for each sample, at the cost of some samples.
        running.append((subprocess.Popen(command, stdout=subprocess.DEVNULL), output))
    try:
        yield
    finally:
        for process, output in running:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            say(f"Profile: {output}")
