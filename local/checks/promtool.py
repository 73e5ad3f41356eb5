"""Run promtool, the checker of Prometheus: from the PATH, else from Debian's package.

Python package indexes do not have it. Debian's package is unpacked into `.venv` without root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from installer import TOOLS

from checks.check import NOT_CHECKED

FETCHED = TOOLS / "bin" / "promtool"


def find() -> str | None:
    """Return the path of promtool, or None if it is missing and cannot be downloaded."""
    if path := shutil.which("promtool"):
        return path
    if not FETCHED.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        fetch()
    return str(FETCHED) if FETCHED.exists() else None


def fetch() -> None:
    """Download Debian's package `prometheus` and extract promtool. Ignore a failure.

    Uses its own package lists, because the machine's may be outdated and belong to root.
    """
    with tempfile.TemporaryDirectory(dir=TOOLS) as name:
        folder = Path(name)
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True)
        options = [f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}/cache"]
        options += ["APT::Sandbox::User=", "Acquire::Retries=1", "Acquire::http::Timeout=20"]
        apt = ["apt-get", "-q", *(part for option in options for part in ("-o", option))]
        if _run([*apt, "update"], folder) and _run([*apt, "download", "prometheus"], folder):
            for package in folder.glob("prometheus_*.deb"):
                if _run(["dpkg-deb", "-x", str(package), "unpacked"], folder):
                    (folder / "unpacked/usr/bin/promtool").rename(FETCHED)


def _run(command: list[str], folder: Path) -> bool:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Return promtool's exit code; without promtool NOT_CHECKED, or 1 in CI."""
    promtool = find()
    if promtool is None:
        print("no promtool on the PATH, and no Debian package available")
        return 1 if os.environ.get("CI") else NOT_CHECKED
    return subprocess.run([promtool, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
