"""Asks the gateway's doctor, with the settings that the gateway has in this fleet."""

from __future__ import annotations

import subprocess

from fleet.composition import Fleet
from fleet.errors import FleetError


def doctor(fleet: Fleet, token: str | None) -> int:
    """Print its findings; 0 when none is bad. The token goes by a pipe: argument lists are public."""
    program = fleet.service("api-gateway")
    if not program.has_environment:
        raise FleetError("api-gateway has no environment yet: make setup")
    command = program.command()
    argv = [command.argv[0], "-m", "app", "doctor", *(["-"] if token is not None else [])]
    done = subprocess.run(
        argv, cwd=command.cwd, env=command.env, input=token or "", text=True, check=False
    )
    return done.returncode
