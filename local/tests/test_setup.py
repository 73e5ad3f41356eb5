"""The set-up finds a working Python; servers of a killed test run are stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fleet.processes.process_identity import Identity, PidFile
from fleet.processes.runner import wait_until

LOCAL = Path(__file__).resolve().parents[1]


def _find_python(path: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(LOCAL / "find-python.sh")],
        env={"PATH": f"{path}:/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_python_that_does_not_run_is_skipped(tmp_path: Path) -> None:
    for name in ("python3", "python3.13", "python3.12"):
        _program(tmp_path / name, "echo 'pyenv: command not found' >&2; exit 127")
    _program(tmp_path / "python3.11", f'exec {sys.executable} "$@"')
    found = _find_python(tmp_path, tmp_path)
    assert found.stdout == "python3.11\n"


def test_missing_python_is_reported(tmp_path: Path) -> None:
    names = ("python", "python3", "python3.11", "python3.12", "python3.13")
    for name in names:
        _program(tmp_path / name, 'test "$1" = --version && echo "Python 3.9.2" || exit 1')
    found = _find_python(tmp_path, tmp_path)
    assert found.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed; found: Python 3.9.2." in found.stderr


def test_orphan_reaper_stops_servers_of_killed_test_run(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    pid_file = PidFile(folder / "run" / "server.json")
    server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pid_file.write(Identity.of(server.pid))
    runner = (
        "import os, subprocess, sys\n"
        "module = 'fleet.testing.orphan_reaper'\n"
        f"reaper = subprocess.Popen([sys.executable, '-m', module, {str(folder)!r}],"
        " stdin=subprocess.PIPE, start_new_session=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", runner], env=os.environ, check=False)
    assert server.wait(timeout=10) == -9
    assert wait_until(lambda: not folder.exists(), 10)
    server.communicate()
