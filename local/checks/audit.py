"""``make audit``: search a public database for vulnerabilities of all pinned requirements.

A database is used only if it reports a well-known vulnerability. A mirror without the vulnerability
feed would report none, and pip-audit cannot tell the difference.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bootstrap import CHASSIS, service_folders
from installer import ROOT, TOOLS, UV

from checks.check import NOT_CHECKED

SERVICES = ("pypi", "osv", "esms")
KNOWN_HOLE = "jinja2==2.10"
SECONDS = "5"  # timeout of a request
ACCEPTED: dict[str, str] = {}  # id of a vulnerability → why this repository is not affected

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", re.MULTILINE)


def requirement_files() -> list[Path]:
    """Return the requirement files of services, chassis, launcher and tools."""
    folders = [ROOT, ROOT / "local", CHASSIS, *service_folders()]
    return [path for folder in folders for path in sorted(folder.glob("requirements*.txt"))]


def pins() -> dict[str, list[str]]:
    """Return package → all pinned versions, for any platform."""
    found: dict[str, set[str]] = {}
    for text in [UV, *(path.read_text("utf-8") for path in requirement_files())]:
        for name, version in _PIN.findall(text):
            found.setdefault(name.lower(), set()).add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def ask(service: str, requirements: str) -> subprocess.CompletedProcess[str]:
    """Run pip-audit on requirements that name each package at most once."""
    options = ["--vulnerability-service", service, "--timeout", SECONDS, "--strict"]
    options += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--desc", "off"]
    options += [part for known in ACCEPTED for part in ("--ignore-vuln", known)]
    if url := os.environ.get("OSV_URL"):
        options += ["--osv-url", url]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(requirements, encoding="utf-8")
        command = [str(TOOLS / "bin" / "pip-audit"), "-r", str(path), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def reached() -> str | None:
    """Return the first database that reports the well-known vulnerability."""
    asked = ("osv",) if "OSV_URL" in os.environ else SERVICES
    for service in asked:
        done = ask(service, KNOWN_HOLE)
        if done.returncode == 1 and re.search(
            r"^jinja2\s+2\.10\s+\S+-\d", done.stdout, re.MULTILINE
        ):
            return service
    return None


def main() -> int:
    """Return 0 without a finding, 1 with any, NOT_CHECKED if no database is reachable."""
    service = reached()
    if service is None:
        print("no vulnerability database is reachable")
        return NOT_CHECKED
    known = pins()
    passed = True
    for turn in range(max(map(len, known.values()))):
        chosen = {name: versions[turn] for name, versions in known.items() if turn < len(versions)}
        done = ask(service, "\n".join(f"{name}=={version}" for name, version in chosen.items()))
        if done.returncode != 0:
            print(done.stdout or done.stderr)
            passed = False
    if passed:
        print(f"{len(known)} packages: no known vulnerability ({service})")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
