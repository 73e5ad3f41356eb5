"""The page of Kafka's topics as a program of the fleet: ``python -m fleet.emulators.topics``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from fleet.errors import FleetError
from fleet.processes.program import HOST, Command, Port, Program, require_page


class TopicsPageServer(Program):
    """A page of a broker, embedded or real; it keeps nothing, and asks only when somebody looks."""

    def __init__(self, state: Path, port: Port, bootstrap: str) -> None:
        """``state`` is the fleet's folder; ``bootstrap`` the broker's address."""
        super().__init__("topics", [port])
        self._root = state
        self._bootstrap = bootstrap

    @property
    def url(self) -> str:
        """The page."""
        return f"http://{HOST}:{self.port}"

    def prepare(self, log: Path) -> None:
        """Nothing to prepare but the check that the packages are there."""
        if importlib.util.find_spec("aiokafka") is None:
            raise FleetError("The page of the topics is not installed: pip install 'fleet[kafka]'")
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """The module with its port and the broker."""
        argv = [sys.executable, "-m", "fleet.emulators.topics", "--port", str(self.port)]
        argv += ["--bootstrap-servers", self._bootstrap]
        return Command(argv, {**os.environ, "PYTHONUNBUFFERED": "1"}, self._root)

    def check(self) -> None:
        """Ask for its own health, which is not the broker's."""
        require_page(self.port, "/health")
