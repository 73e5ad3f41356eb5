"""``make deploy``: deploy one version of the platform to a host with Docker.

Copies the files that docker-compose.yml needs to `shop/` on the host, pulls the images and starts
them. Fails if a container does not become healthy. Without --apply it only prints the commands.
The passwords are in `shop/.env` on the host (.env.example lists them); this script never reads
them.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

from installer import ROOT

NEEDED = ("docker-compose.yml", "docker", "local/fleet/topics.py")
SSH = ("ssh", "-o", "BatchMode=yes", "--")
FORMS = {
    "VERSION": r"[0-9A-Za-z][0-9A-Za-z._-]*",
    "IMAGE_PREFIX": r"[0-9a-z][0-9a-z._:/-]*",
    "DEPLOY_HOST": r"([\w.-]+@)?[0-9A-Za-z][\w.-]*",
}
"""Required variables and their format. The values become part of shell commands."""


def steps(version: str, prefix: str) -> list[tuple[str, str]]:
    """Return description and shell command of each step; the first reads a tar archive."""
    compose = "cd shop && docker compose --env-file .env --env-file release.env"
    release = shlex.join(["printf", "%s\\n", f"VERSION={version}", f"IMAGE_PREFIX={prefix}"])
    return [
        ("copy the files of this version", "mkdir -p shop && tar -xf - -C shop"),
        ("check that the passwords exist", "test -f shop/.env"),
        ("store the version", f"{release} > shop/release.env"),
        ("pull the images", f"{compose} pull --quiet"),
        ("start the containers", f"{compose} up --detach --no-build --wait --remove-orphans"),
    ]


def settings() -> dict[str, str]:
    """Return version, image prefix and host; exit with a message if one is invalid."""
    found = {name: os.environ.get(name, "") for name in FORMS}
    for name, form in FORMS.items():
        if not re.fullmatch(form, found[name], re.ASCII):
            raise SystemExit(f"{name}={found[name]!r} is invalid; it must match {form}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Deploy or print the steps. Return the exit code of the first failed step, or 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--apply", action="store_true", help="execute the steps; the default prints them"
    )
    apply = parser.parse_args(arguments).apply
    given = settings()
    archive = subprocess.run(
        ["git", "archive", "HEAD", "--", *NEEDED], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout
    if not apply:
        print("Nothing is executed. apply=1 runs these steps:", flush=True)
    for number, (step, command) in enumerate(steps(given["VERSION"], given["IMAGE_PREFIX"])):
        print(f"{number + 1}. {step}\n   {given['DEPLOY_HOST']}: {command}", flush=True)
        if apply:
            data = b"" if number else archive
            done = subprocess.run([*SSH, given["DEPLOY_HOST"], command], input=data, check=False)
            if done.returncode != 0:
                print(f"Step failed: {step}: exit code {done.returncode}.", file=sys.stderr)
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
