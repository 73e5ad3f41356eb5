"""The stand-in for Keycloak as a program: ``python -m fleet.emulators.identity`` in its process."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from fleet.errors import FleetError
from fleet.processes.program import Command, Port, Program, require_page

REALM = "microservices"
REALM_FILE = Path(__file__).resolve().parents[3] / "docker" / "keycloak" / "realm-export.json"
"""What a real Keycloak imports, too."""


class IdentityServer(Program):
    """One provider; its keys lie in the state folder, its logins in its memory."""

    def __init__(self, state: Path, port: Port) -> None:
        """``state`` is the fleet's folder; the server's own lies in it."""
        super().__init__("identity", [port])
        self._root = state / "identity"

    @property
    def url(self) -> str:
        """What browsers call it, and what its tokens' issuer begins with."""
        return f"http://localhost:{self.port}"

    def prepare(self, log: Path) -> None:
        """Make the folder of the keys."""
        if importlib.util.find_spec("joserfc") is None:
            raise FleetError(
                "The identity provider is not installed: pip install 'fleet[identity]'"
            )
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> Command:
        """The module with its port and files."""
        argv = [sys.executable, "-m", "fleet.emulators.identity", "--port", str(self.port)]
        argv += ["--realm", str(REALM_FILE), "--keys", str(self._root / "keys.json")]
        return Command(argv, {**os.environ, "PYTHONUNBUFFERED": "1"}, self._root)

    def check(self) -> None:
        """Ask for the realm's discovery document."""
        require_page(self.port, f"/realms/{REALM}/.well-known/openid-configuration")
