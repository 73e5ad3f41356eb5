"""A failpoint kills the process that reaches it, once, and only where one was asked for."""

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


def test_without_the_variable_a_place_is_passed(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "thing.done").write_text("kill")
    assert run(FAILPOINTS="").communicate()[0] == "alive\n"


def test_in_production_a_place_is_passed(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "thing.done").write_text("kill")
    assert run(ENVIRONMENT="production").communicate()[0] == "alive\n"


def test_a_place_that_nobody_armed_is_passed(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "another.place").write_text("kill")
    assert run().communicate()[0] == "alive\n"


def test_of_three_that_reach_an_armed_place_one_dies(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "thing.done").write_text("kill\n")
    processes = [run() for _ in range(3)]
    said = sorted(process.communicate()[0] for process in processes)
    assert said == ["", "alive\n", "alive\n"]
    codes = sorted(process.returncode for process in processes)
    assert codes == [-signal.SIGKILL, 0, 0]
    assert not (tmp_path / "thing.done").exists()


def test_one_that_is_stopped_there_goes_on_when_it_is_told_to(
    run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "thing.done").write_text("stop")
    process = run()
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0] == "alive\n"
