"""``make lock``: pin all requirement files again, for all platforms and Python 3.11 or later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bootstrap import CHASSIS, service_folders
from installer import ROOT, TOOLS


def compilations() -> list[tuple[Path, str, str, list[str]]]:
    """Return folder, source, result and options, ordered so that constraints are pinned first."""
    found: list[tuple[Path, str, str, list[str]]] = [
        (ROOT / "local", "pyproject.toml", "requirements.txt", ["--extra", "all"])
    ]
    for folder in [CHASSIS, *service_folders(), ROOT]:
        names = ("requirements", "requirements-dev")
        there = [name for name in names if (folder / f"{name}.in").exists()]
        found += [(folder, f"{name}.in", f"{name}.txt", []) for name in there]
    return found


def main(options: list[str]) -> int:
    """Compile all files; ``--upgrade`` selects the newest allowed versions."""
    for folder, source, result, more in compilations():
        command = [
            str(TOOLS / "bin" / "uv"),
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--no-header",
        ]
        command += ["--python-version", "3.11", source, "-o", result, *more, *options]
        if subprocess.run(command, cwd=folder, check=False).returncode != 0:
            return 1
        print(f"  {(folder / result).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
