"""The runner waits until a program is ready, reports progress, and explains a timeout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import FleetError, NotReady
from fleet.processes import runner
from fleet.processes.program import Command, Program
from fleet.processes.runner import START_TIMEOUT, Runner, start_timeout


class SlowProgram(Program):
    """A process that runs but never becomes ready."""

    def command(self) -> Command:
        argv = [sys.executable, "-c", "import time; time.sleep(60)"]
        return Command(argv, os.environ, Path.cwd())

    def check(self) -> None:
        raise NotReady("still loading")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Runner[SlowProgram]]:
    runner = Runner(SlowProgram("slow", []), tmp_path)
    yield runner
    runner.kill()


def test_start_after_timeout_names_reason_and_setting(
    slow: Runner[SlowProgram],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(START_TIMEOUT, "1")
    monkeypatch.setattr(runner, "PROGRESS_SECONDS", 0.3)
    with pytest.raises(FleetError) as raised:
        slow.start()
    assert "slow runs but is not ready after 1 s (still loading)" in str(raised.value)
    assert f"{START_TIMEOUT}=2 make up" in str(raised.value)
    assert "waiting for slow: " in capsys.readouterr().out


def test_start_timeout_defaults_to_60_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(START_TIMEOUT, raising=False)
    assert start_timeout() == 60.0


@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf", "nan"])
def test_invalid_start_timeout_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(START_TIMEOUT, value)
    with pytest.raises(FleetError, match=f"{START_TIMEOUT}={value} is not a positive number"):
        start_timeout()
