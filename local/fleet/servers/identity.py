"""The identity provider as a program of the fleet: runs ``python -m fleet.emulators.identity``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from fleet.errors import FleetError
from fleet.processes.program import Command, Port, Program, require_page

REALM = "microservices"
REALM_FILE = Path(__file__).resolve().parents[3] / "docker" / "keycloak" / "realm-export.json"
"""The realm file, which Keycloak imports too."""


class IdentityServer(Program):
    """One provider. Its keys are in the state folder, its sessions in memory."""

    def __init__(self, state: Path, port: Port) -> None:
        """``state`` is the fleet's state folder."""
        super().__init__("identity", [port])
        self._root = state / "identity"

    @property
    def url(self) -> str:
        """Address for browsers, and prefix of the tokens' issuer."""
        return f"http://localhost:{self.port}"

    def prepare(self, log: Path) -> None:
        """Create the folder of the keys."""
        if importlib.util.find_spec("joserfc") is None:
            raise FleetError(
                "The identity provider is not installed: pip install 'fleet[identity]'"
            )
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> Command:
        """Run the module with its port, realm file and key file."""
        argv = [sys.executable, "-m", "fleet.emulators.identity", "--port", str(self.port)]
        argv += ["--realm", str(REALM_FILE), "--keys", str(self._root / "keys.json")]
        return Command(argv, {**os.environ, "PYTHONUNBUFFERED": "1"}, self._root)

    def check(self) -> None:
        """Request the realm's discovery document."""
        require_page(self.port, f"/realms/{REALM}/.well-known/openid-configuration")
