"""Asks the gateway's doctor, with the settings that the gateway has in this fleet."""

from __future__ import annotations

import subprocess
import sys

from fleet.errors import FleetError
from fleet.launcher.composition import Fleet


def doctor(fleet: Fleet, token: str | None, user: str) -> int:
    """Print its findings; 0 when none is bad.

    ``token`` is an access token, or ``-`` for one on standard input; ``user`` a demo user whose
    token is asked for. Neither: only about the settings.
    """
    if user:
        token = fleet.identity.log_in(user, user)["access_token"]
    elif token == "-":  # noqa: S105
        token = sys.stdin.readline()
    program = fleet.service("api-gateway")
    if not program.has_environment:
        raise FleetError("api-gateway has no environment yet: make setup")
    command = program.command()
    # The token goes by a pipe: every user of the machine can read an argument list.
    argv = [command.argv[0], "-m", "app", "doctor", *(["-"] if token is not None else [])]
    done = subprocess.run(
        argv, cwd=command.cwd, env=command.env, input=token or "", text=True, check=False
    )
    return done.returncode
