"""One process: the realm of a file on one port of 127.0.0.1."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvicorn

from fleet.emulators.identity.app import create_app
from fleet.emulators.identity.keys import Keys
from fleet.emulators.identity.provider import Provider
from fleet.emulators.identity.realm import read_realm
from fleet.errors import FleetError
from fleet.processes.program import HOST


def main() -> int:
    """Read the realm and the keys; what is wrong with them is one sentence."""
    parser = argparse.ArgumentParser(prog="python -m fleet.emulators.identity", description=__doc__)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--realm", type=Path, required=True, help="a realm that Keycloak exported")
    parser.add_argument("--keys", type=Path, required=True, help="made when it is not there")
    arguments = parser.parse_args()
    try:
        realm, keys = read_realm(arguments.realm), Keys.load(arguments.keys)
    except FleetError as error:
        print(error, file=sys.stderr)
        return 1
    provider = Provider(realm, keys, f"http://localhost:{arguments.port}")
    uvicorn.run(
        create_app(provider),
        host=HOST,
        port=arguments.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
