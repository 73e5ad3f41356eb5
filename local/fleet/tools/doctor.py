"""``make doctor``: run ``token_check.py`` with the gateway's interpreter and settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fleet.errors import FleetError
from fleet.launcher.composition import Fleet

_SCRIPT = Path(__file__).with_name("token_check.py")


def doctor(fleet: Fleet, token: str | None, user: str) -> int:
    """Print the findings. Return 0 if none is bad.

    ``token`` is an access token, or ``-`` to read one from standard input. ``user`` is a demo user
    whose new token is checked. Without either, only the settings are checked.
    """
    if user:
        token = fleet.identity.log_in(user, user)["access_token"]
    elif token == "-":  # noqa: S105
        token = sys.stdin.readline()
    gateway = fleet.service("api-gateway")
    if not gateway.has_environment:
        raise FleetError("api-gateway has no environment yet. Create it with: make setup")
    command = gateway.command()
    # -P: the script's folder must not be on sys.path, the gateway's must be.
    # Pass the token through a pipe: every user of the machine can read an argument list.
    argv = [command.argv[0], "-P", str(_SCRIPT), *(["-"] if token is not None else [])]
    done = subprocess.run(
        argv,
        cwd=gateway.folder,
        env={**command.env, "PYTHONPATH": str(gateway.folder)},
        input=token or "",
        text=True,
        check=False,
    )
    return done.returncode
