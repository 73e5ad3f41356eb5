"""``make check``: lint, format, types, structure, contracts, Docker files, workflows, secrets.

Each part is checked in its own folder with its own environment, because all services have a package
named ``app``. CI runs the same checks. A check that is impossible on this machine reports that.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bootstrap import CHASSIS, service_folders
from installer import ROOT, TOOLS
from run_tests import STRUCTURE

NOT_CHECKED = 77  # exit code of a check that is impossible here; its output gives the reason
RULE_TESTS = "docker/prometheus/alerts.test.yml"
GATEWAY_SCRIPT = "fleet/tools/token_check.py"  # run by the gateway's interpreter


@dataclass(frozen=True)
class Check:
    """One command that must exit with 0 or NOT_CHECKED, and its working directory."""

    name: str
    command: tuple[str, ...]
    folder: Path = ROOT


def checks() -> list[Check]:
    """Return all checks. Services are discovered."""
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
        types(
            ROOT / "local",
            TOOLS / "bin" / "python",
            *("--exclude", GATEWAY_SCRIPT, "fleet", "checks", "tests", *scripts),
        ),
        types(CHASSIS, CHASSIS / "venv" / "bin" / "python", "chassis"),
        *(
            types(folder, folder / "venv" / "bin" / "python", *packages(folder))
            for folder in service_folders()
        ),
        types(ROOT, TOOLS / "bin" / "python", "tests", "benchmarks"),
        *(imports(folder) for folder in [CHASSIS, *service_folders()]),
        Check("structure", (str(TOOLS / "bin" / "python"), "-m", "pytest", "-q", *STRUCTURE)),
        Check("contracts", (str(TOOLS / "bin" / "python"), "-m", "checks.contracts")),
        *docker_checks(),
        *workflow_checks(),
        Check("secrets", secrets_command(files())),
        Check("known vulnerabilities", (str(TOOLS / "bin" / "python"), "-m", "checks.audit")),
    ]


def imports(folder: Path) -> Check:
    """Check the layers that the folder's pyproject.toml defines."""
    command = (str(TOOLS / "bin" / "lint-imports"), "--no-cache", "--no-logo")
    return Check(f"imports {folder.relative_to(ROOT)}", command, folder)


def packages(folder: Path) -> list[str]:
    """Return a service's packages and scripts outside its folder that its interpreter runs."""
    own = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    return [*own, f"../local/{GATEWAY_SCRIPT}"] if folder.name == "api-gateway" else own


def secrets_command(files: list[str]) -> tuple[str, ...]:
    """Return the command that scans files for keys and tokens. It never uses or prints one.

    A comment `kingfisher:ignore` with the reason, above a line, allows it.
    """
    options = ("--no-validate", "--no-update-check", "--git-history", "none", "--redact", "--quiet")
    rules = ("--rules-path", str(ROOT / "local" / "checks" / "secrets.yml"))
    cache = ("--rule-cache-dir", str(TOOLS / "kingfisher-rules"))
    return (str(TOOLS / "bin" / "kingfisher"), "scan", *options, *rules, *cache, *files)


def files() -> list[str]:
    """Return all tracked and all new files of the checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]


def docker_checks() -> list[Check]:
    """Check Dockerfiles, compose file and alert rules without a Docker engine."""
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
        Check("alert rules and dashboards", (python, "-m", "tests.conformance.queries")),
        Check(
            "alert rules' own tests", (python, "-m", "checks.promtool", "test", "rules", RULE_TESTS)
        ),
    ]


def workflow_checks(github: Path = ROOT / ".github") -> list[Check]:
    """Check syntax and security of the GitHub workflows, offline."""
    actionlint, zizmor = str(TOOLS / "bin" / "actionlint"), str(TOOLS / "bin" / "zizmor")
    shellcheck = (
        TOOLS / "bin" / "shellcheck"
    )  # not available on every platform, see requirements-dev.in
    shell = str(shellcheck) if shellcheck.exists() else ""
    files = [str(path) for path in sorted((github / "workflows").glob("*.yml"))]
    strict = ("--offline", "--persona", "pedantic", "--strict-collection")
    return [
        Check("workflows", (actionlint, "-shellcheck", shell, "-pyflakes", "", *files)),
        Check("workflows' security", (zizmor, *strict, "--no-progress", "--quiet", str(github))),
    ]


def run(check: Check) -> bool:
    """Run one check and print its result; print its output if it fails. Return success."""
    began = time.monotonic()
    done = subprocess.run(
        check.command, cwd=check.folder, capture_output=True, text=True, check=False
    )
    result = {0: "ok         ", NOT_CHECKED: "NOT CHECKED"}.get(done.returncode, "FAILED     ")
    report = f"  {result}  {check.name:<32} {time.monotonic() - began:5.1f} s"
    if done.returncode == NOT_CHECKED:
        report += f"  {done.stdout.strip()}"
    elif done.returncode != 0:
        report += f"\n{done.stdout}{done.stderr}"
    print(report, flush=True)
    return done.returncode in (0, NOT_CHECKED)


def main(names: Sequence[str] = ()) -> int:
    """Run all checks or the named ones, two at a time. Return 1 if any fails."""
    known = checks()
    chosen = [check for check in known if not names or check.name in names]
    if unknown := set(names) - {check.name for check in chosen}:
        print(f"There is no check {', '.join(unknown)}. Known: {', '.join(c.name for c in known)}.")
        return 1
    with ThreadPoolExecutor(max_workers=2) as pool:
        passed = list(pool.map(run, chosen))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
