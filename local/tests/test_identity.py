"""Process identity: pids are reused, and a zombie keeps its pid."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from fleet.processes.process_identity import Identity, PidFile
from fleet.processes.runner import wait_until


def test_running_process_is_alive() -> None:
    assert Identity.of(os.getpid()).alive()


def test_reused_pid_is_another_process() -> None:
    earlier = replace(Identity.of(os.getpid()), birth="another boot/1")
    assert not earlier.alive()
    assert earlier.family() == []


def test_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    identity = Identity.of(child.pid)
    assert wait_until(lambda: not identity.alive(), 10)  # exited and not reaped
    child.communicate()


def test_pid_file_round_trip(tmp_path: Path) -> None:
    pid_file = PidFile(tmp_path / "run" / "kafka.json")
    assert pid_file.read() is None
    pid_file.write(Identity.of(os.getpid()))
    assert pid_file.read() == Identity.of(os.getpid())
    pid_file.clear()
    assert pid_file.read() is None


def test_damaged_pid_file_is_no_process(tmp_path: Path) -> None:
    path = tmp_path / "kafka.json"
    for damage in ("", "{", "[]", '{"pid": "x", "birth": ""}', "null"):
        path.write_text(damage, encoding="utf-8")
        assert PidFile(path).read() is None
