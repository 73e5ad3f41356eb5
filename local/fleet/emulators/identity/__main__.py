"""Run the identity provider: serve the realm of a file on a port of 127.0.0.1."""

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
    """Read realm and keys, and serve. Print a read error as one sentence."""
    parser = argparse.ArgumentParser(prog="python -m fleet.emulators.identity", description=__doc__)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument(
        "--realm", type=Path, required=True, help="a realm file exported by Keycloak"
    )
    parser.add_argument("--keys", type=Path, required=True, help="created if missing")
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
