"""Settings of the fleet from the environment and from ``.env``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import FleetError
from fleet.processes.program import Port

PROJECT = "ecommerce-fleet"


@dataclass(frozen=True)
class Settings:
    """One fleet: its checkout, its state folder and its environment variables."""

    root: Path
    state: Path
    env: Mapping[str, str]

    @classmethod
    def load(cls) -> Settings:
        """Read the environment, which has precedence over ``.env``."""
        root = Path(os.environ.get("FLEET_ROOT") or Path(__file__).resolve().parents[3])
        for name, value in read_dotenv(root / ".env").items():
            os.environ.setdefault(name, value)
        chosen = os.environ.get("FLEET_STATE")
        state = root / Path(chosen).expanduser() if chosen else default_state(root)
        return cls(root, state, dict(os.environ))

    def port(self, variable: str, default: int) -> Port:
        """Return the port that a variable sets, or the default. Refuse an invalid value."""
        text = self.env.get(variable) or str(default)
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise FleetError(
                f"{variable}={text} is not a port: a number from 1 to 65535 is needed."
            )
        return Port(int(text), variable)

    def detours(self) -> dict[str, int]:
        """Return the proxies of ``FLEET_VIA=postgres=15433,order-service=18002``: part → port.

        Services reach these parts through the proxies' ports.
        """
        detours: dict[str, int] = {}
        for entry in filter(None, (self.given("FLEET_VIA") or "").split(",")):
            name, _, port = entry.strip().partition("=")
            if not port.isdecimal():
                raise FleetError(f"FLEET_VIA has {entry!r}; <part>=<port> is needed.")
            detours[name] = int(port)
        return detours

    @property
    def replicas(self) -> int:
        """Number of processes of each service: 1 or 2."""
        text = self.env.get("REPLICAS") or "1"
        if text not in ("1", "2"):
            raise FleetError(f"REPLICAS={text} is not possible: use 1 or 2.")
        return int(text)

    def given(self, variable: str) -> str | None:
        """Return a variable's value, or None if it is empty or not set."""
        return self.env.get(variable) or None

    def ensure_state(self) -> None:
        """Create the state folder. Mode 711 lets the user of PostgreSQL pass but not list it."""
        self.state.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self.state.stat().st_uid != os.geteuid():
            raise FleetError(
                f"{self.state} belongs to another user. Set FLEET_STATE to a folder of your own."
            )


def default_state(root: Path) -> Path:
    """Return ``.fleet/`` in the checkout; for root a folder below ``/var/tmp``.

    PostgreSQL refuses to run as root. The unprivileged user that runs it then cannot enter
    a checkout in root's home.
    """
    if os.geteuid() != 0:
        return root / ".fleet"
    checkout = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return Path("/var/tmp") / f"{PROJECT}-{checkout}"  # noqa: S108 - its owner is checked


def read_dotenv(path: Path) -> dict[str, str]:
    """Parse ``NAME=value`` lines with comments, ``export`` and quotes. Skip empty values."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if name.startswith("#") or not equals:
            continue
        value = value.strip()
        if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        if value:
            found[name.strip()] = value
    return found
