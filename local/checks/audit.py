"""Known vulnerabilities of every pinned requirement, as a public service tells them: `make audit`.

A service is believed only if it knows of a hole that everybody knows of: pip-audit takes an index
without its vulnerability feed, as mirrors are, for one that knows of none.
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
SECONDS = "5"  # for one answer
ACCEPTED: dict[str, str] = {}  # a finding's id, and why it does not concern this repository

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", re.MULTILINE)


def requirement_files() -> list[Path]:
    """What is installed anywhere: services, the chassis, the launcher, tools, benchmarks."""
    folders = [ROOT, ROOT / "local", CHASSIS, ROOT / "benchmarks/forwarding", *service_folders()]
    return [path for folder in folders for path in sorted(folder.glob("requirements*.txt"))]


def pins() -> dict[str, list[str]]:
    """Each package with every version of it that is pinned somewhere, for any platform."""
    found: dict[str, set[str]] = {}
    for text in [UV, *(path.read_text("utf-8") for path in requirement_files())]:
        for name, version in _PIN.findall(text):
            found.setdefault(name.lower(), set()).add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def ask(service: str, requirements: str) -> subprocess.CompletedProcess[str]:
    """What pip-audit says of pinned requirements, of which each package may be named once."""
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
    """The first service that answers, and knows what it must know."""
    asked = ("osv",) if "OSV_URL" in os.environ else SERVICES
    for service in asked:
        done = ask(service, KNOWN_HOLE)
        if done.returncode == 1 and re.search(
            r"^jinja2\s+2\.10\s+\S+-\d", done.stdout, re.MULTILINE
        ):
            return service
    return None


def main() -> int:
    """0 without a finding, 1 with any, NOT_CHECKED where no service can be asked."""
    service = reached()
    if service is None:
        print("no service of vulnerabilities can be reached from here")
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
        print(f"{len(known)} packages: no vulnerability known ({service})")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
