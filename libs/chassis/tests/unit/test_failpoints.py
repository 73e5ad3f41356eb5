"""An armed failpoint kills one process that reaches it; an unarmed one does nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = "from chassis.failpoints import reach\nreach('thing.done')\nprint('alive')"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    def run(**settings: str) -> "subprocess.Popen[str]":
        env = {**os.environ, "FAILPOINTS": str(tmp_path), **settings}
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE, text=True
        )

    return run


def test_failpoint_without_the_variable_does_nothing(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "thing.done").write_text("kill")
    assert run(FAILPOINTS="").communicate()[0] == "alive\n"


def test_failpoint_in_production_does_nothing(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "thing.done").write_text("kill")
    assert run(ENVIRONMENT="production").communicate()[0] == "alive\n"


def test_unarmed_failpoint_does_nothing(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "another.place").write_text("kill")
    assert run().communicate()[0] == "alive\n"


def test_armed_failpoint_kills_one_of_three_processes(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "thing.done").write_text("kill\n")
    processes = [run() for _ in range(3)]
    said = sorted(process.communicate()[0] for process in processes)
    assert said == ["", "alive\n", "alive\n"]
    codes = sorted(process.returncode for process in processes)
    assert codes == [-signal.SIGKILL, 0, 0]
    assert not (tmp_path / "thing.done").exists()


def test_process_stopped_at_a_failpoint_continues_after_sigcont(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "thing.done").write_text("stop")
    process = run()
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0] == "alive\n"
