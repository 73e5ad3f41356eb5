"""The topics page as a program of the fleet: runs ``python -m fleet.emulators.topics``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from fleet.errors import FleetError
from fleet.processes.program import HOST, Command, Port, Program, require_page


class TopicsPageServer(Program):
    """A web page of a broker's topics. It stores no data and queries the broker on request."""

    def __init__(self, state: Path, port: Port, bootstrap: str) -> None:
        """``state`` is the fleet's state folder, ``bootstrap`` the broker's address."""
        super().__init__("topics", [port])
        self._root = state
        self._bootstrap = bootstrap

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.port}"

    def prepare(self, log: Path) -> None:
        """Check that the packages are installed."""
        if importlib.util.find_spec("aiokafka") is None:
            raise FleetError("The topics page is not installed: pip install 'fleet[kafka]'")
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Run the module with its port and the broker's address."""
        argv = [sys.executable, "-m", "fleet.emulators.topics", "--port", str(self.port)]
        argv += ["--bootstrap-servers", self._bootstrap]
        return Command(argv, {**os.environ, "PYTHONUNBUFFERED": "1"}, self._root)

    def check(self) -> None:
        """Request the page's own health, which does not depend on the broker."""
        require_page(self.port, "/health")
