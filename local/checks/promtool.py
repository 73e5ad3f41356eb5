"""Runs promtool, Prometheus' own checker: the one on the PATH, else Debian's, into `.venv`.

No package index that pip reads has it. Debian's package is unpacked, not installed: no root.
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
    """Where promtool is; None where the machine has none and no apt to fetch it with."""
    if path := shutil.which("promtool"):
        return path
    if not FETCHED.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        fetch()
    return str(FETCHED) if FETCHED.exists() else None


def fetch() -> None:
    """Download Debian's package `prometheus` and keep its promtool; nothing when that fails.

    With package lists of its own: the machine's may be old or missing, and are root's to update.
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
    """promtool's own exit code; where there is none, NOT_CHECKED, and in CI a failure."""
    promtool = find()
    if promtool is None:
        print("no promtool on this machine's PATH, and no Debian package to take it from")
        return 1 if os.environ.get("CI") else NOT_CHECKED
    return subprocess.run([promtool, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
