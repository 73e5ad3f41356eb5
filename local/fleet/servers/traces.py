"""The trace receiver as a program of the fleet: runs ``python -m fleet.emulators.traces``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from fleet.errors import FleetError
from fleet.processes.program import HOST, Command, Port, Program, require_page


class TracesServer(Program):
    """An OTLP receiver with a page; its spans live in its memory."""

    def __init__(self, state: Path, port: Port) -> None:
        """``state`` is the fleet's folder."""
        super().__init__("traces", [port])
        self._root = state

    @property
    def url(self) -> str:
        """The page, and what exporters are given as their endpoint."""
        return f"http://{HOST}:{self.port}"

    def prepare(self, log: Path) -> None:
        """Nothing to prepare but the check that the packages are there."""
        if importlib.util.find_spec("google.protobuf") is None:
            raise FleetError("The receiver of spans is not installed: pip install 'fleet[traces]'")
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """The module with its port."""
        argv = [sys.executable, "-m", "fleet.emulators.traces", "--port", str(self.port)]
        return Command(argv, {**os.environ, "PYTHONUNBUFFERED": "1"}, self._root)

    def check(self) -> None:
        """Ask for its health."""
        require_page(self.port, "/health")
