"""The trace receiver as a program of the fleet: runs ``python -m fleet.emulators.traces``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from fleet.errors import FleetError
from fleet.processes.program import HOST, Command, Port, Program, require_page


class TracesServer(Program):
    """An OTLP receiver that stores spans in memory and shows them on a web page."""

    def __init__(self, state: Path, port: Port) -> None:
        """``state`` is the fleet's state folder."""
        super().__init__("traces", [port])
        self._root = state

    @property
    def url(self) -> str:
        """Address of the page, and endpoint for exporters."""
        return f"http://{HOST}:{self.port}"

    def prepare(self, log: Path) -> None:
        """Check that the packages are installed."""
        if importlib.util.find_spec("google.protobuf") is None:
            raise FleetError("The trace receiver is not installed: pip install 'fleet[traces]'")
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Run the module with its port."""
        argv = [sys.executable, "-m", "fleet.emulators.traces", "--port", str(self.port)]
        return Command(argv, {**os.environ, "PYTHONUNBUFFERED": "1"}, self._root)

    def check(self) -> None:
        """Request its health."""
        require_page(self.port, "/health")
