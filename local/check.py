"""Everything static: lint, format, strict types of each part, and what runs in Docker.

Each part is checked in its own folder and with its own environment's packages: all services have a
package named ``app``. `make check` and CI run exactly this.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bootstrap import CHASSIS, service_folders
from installer import ROOT, TOOLS

RULES_CHECK = "alert rules and dashboards" + (
    " with promtool" if shutil.which("promtool") else " (no promtool)"
)


@dataclass(frozen=True)
class Check:
    """One command that must end with 0, and the folder it runs in."""

    name: str
    command: tuple[str, ...]
    folder: Path = ROOT


def checks() -> list[Check]:
    """All of them; services are found, not listed."""
    ruff, mypy = str(TOOLS / "bin" / "ruff"), str(TOOLS / "bin" / "mypy")

    def types(folder: Path, python: Path, *targets: str) -> Check:
        options = (
            "--config-file",
            str(ROOT / "pyproject.toml"),
            "--python-executable",
            str(python),
        )
        name = "tests" if folder == ROOT else str(folder.relative_to(ROOT))
        return Check(f"types {name}", (mypy, *options, *targets), folder)

    scripts = [path.name for path in sorted((ROOT / "local").glob("*.py"))]
    return [
        Check("lint", (ruff, "check", "--quiet", ".")),
        Check("format", (ruff, "format", "--check", "--quiet", ".")),
        types(ROOT / "local", TOOLS / "bin" / "python", "fleet", "tests", *scripts),
        types(CHASSIS, CHASSIS / "venv" / "bin" / "python", "chassis"),
        *(
            types(folder, folder / "venv" / "bin" / "python", "app", "tests")
            for folder in service_folders()
        ),
        types(ROOT, TOOLS / "bin" / "python", "tests", "benchmarks/forwarding/__main__.py"),
        *docker_checks(),
    ]


def docker_checks() -> list[Check]:
    """Of images and configuration, by tools from PyPI: no engine is needed."""
    python, compose = str(TOOLS / "bin" / "python"), str(TOOLS / "bin" / "docker-compose")
    mypy = (str(TOOLS / "bin" / "mypy"), "--config-file", "pyproject.toml")
    programs = ("docker/grafana/dashboards.py", "docker/secrets/check.py")
    hadolint = str(TOOLS / "bin" / "hadolint")
    dockerfiles = [str(path) for path in sorted(ROOT.glob("*/Dockerfile"))]
    scale = ("--env-file", "docker/scale.env")
    return [
        Check("types docker", (*mypy, *programs)),
        Check("dockerfiles", (hadolint, *dockerfiles)),
        Check("compose file", (compose, "config", "--quiet")),
        Check("compose file, scaled", (compose, *scale, "config", "--quiet")),
        Check(RULES_CHECK, (python, "-m", "tests.conformance.queries")),
    ]


def run(check: Check) -> bool:
    """Run one check; its output is shown only when it fails."""
    began = time.monotonic()
    done = subprocess.run(
        check.command, cwd=check.folder, capture_output=True, text=True, check=False
    )
    passed = done.returncode == 0
    verdict = "ok    " if passed else "FAILED"
    report = f"  {verdict}  {check.name:<32} {time.monotonic() - began:5.1f} s"
    print(report if passed else f"{report}\n{done.stdout}{done.stderr}", flush=True)
    return passed


def main() -> int:
    """Run all checks, two at a time; 1 when any failed."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        passed = list(pool.map(run, checks()))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
