"""Brings one version of the platform to a host that has Docker: `make deploy`, and release.yml.

Copies what docker-compose.yml needs into `shop/` there, pulls the images, and starts them, each as
soon as what it needs is healthy; a version that does not become healthy is a failure. Without
--apply it prints what it would do and touches nothing. The passwords never pass through here: they
are on the host, in `shop/.env` (.env.example lists them), put there once and by a person.
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
"""What the environment must say, and its form: all of it comes into a shell's commands."""


def steps(version: str, prefix: str) -> list[tuple[str, str]]:
    """What is done, and the command for the host's shell; the first reads a tar archive."""
    compose = "cd shop && docker compose --env-file .env --env-file release.env"
    release = shlex.join(["printf", "%s\\n", f"VERSION={version}", f"IMAGE_PREFIX={prefix}"])
    return [
        ("the files of this version", "mkdir -p shop && tar -xf - -C shop"),
        ("the passwords are there", "test -f shop/.env"),
        ("which version it is", f"{release} > shop/release.env"),
        ("its images", f"{compose} pull --quiet"),
        ("the new containers", f"{compose} up --detach --no-build --wait --remove-orphans"),
    ]


def settings() -> dict[str, str]:
    """The version, the images' place and the host; ends with a sentence where one is no such."""
    found = {name: os.environ.get(name, "") for name in FORMS}
    for name, form in FORMS.items():
        if not re.fullmatch(form, found[name], re.ASCII):
            raise SystemExit(f"{name}={found[name]!r} cannot be deployed; it must match {form}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything is healthy there, or has been printed; else the failed command's code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apply", action="store_true", help="do it; without, print it")
    apply = parser.parse_args(arguments).apply
    given = settings()
    archive = subprocess.run(
        ["git", "archive", "HEAD", "--", *NEEDED], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout
    if not apply:
        print("Nothing is done: apply=1 would do this.", flush=True)
    for number, (what, command) in enumerate(steps(given["VERSION"], given["IMAGE_PREFIX"])):
        print(f"{number + 1}. {what}\n   {given['DEPLOY_HOST']}: {command}", flush=True)
        if apply:
            data = b"" if number else archive
            done = subprocess.run([*SSH, given["DEPLOY_HOST"], command], input=data, check=False)
            if done.returncode != 0:
                print(f"That failed; {what}: exit code {done.returncode}.", file=sys.stderr)
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
