"""`make dev` with small services: output and restarts for changed, broken and fixed code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from small_fleet import SERVICE

from fleet.__main__ import main
from fleet.errors import NotReady
from fleet.launcher.composition import Fleet
from fleet.launcher.settings import Settings
from fleet.launcher.start_stop import down
from fleet.processes.runner import wait_until

BOTH = (
    "product-service",
    "api-gateway",
)  # one started by uvicorn's command line, one by its own server


class Terminal:
    """A running `fleet dev` and its output."""

    def __init__(self, process: subprocess.Popen[bytes], shown: Path) -> None:
        self._process = process
        self._shown = shown

    def shows(self, pattern: str) -> str:
        """Wait until the output matches the pattern; return the match."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.text)
            found[:] = [match] if match else []
            return bool(match)

        assert wait_until(look, 60), f"never shown: {pattern}\n{self.text}"
        return found[0][0]

    @property
    def text(self) -> str:
        return self._shown.read_text("utf-8")

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=60)

    def wait(self) -> int:
        return self._process.wait(timeout=60)


Dev = Callable[[str], AbstractContextManager[Terminal]]


@pytest.fixture
def dev(checkout: Path, tmp_path: Path) -> Dev:
    @contextmanager
    def opened(name: str) -> Iterator[Terminal]:
        shown = tmp_path / "terminal"
        with (
            shown.open("wb") as output,
            subprocess.Popen(
                [sys.executable, "-m", "fleet", "dev", name],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ,
            ) as process,
        ):
            try:
                yield Terminal(process, shown)
            finally:
                process.kill()

    return opened


@pytest.fixture
def fleet(checkout: Path) -> Iterator[Fleet]:
    """Return the fleet in the state of the previous test; restore the services' code at the end."""
    yield Fleet(Settings.load())
    for name in BOTH:
        (checkout / name / "app" / "main.py").write_text(SERVICE, encoding="utf-8")


def _version(fleet: Fleet, name: str) -> str:
    try:
        return str(fleet.service(name).ask("/health")[1].get("version", "none"))
    except NotReady:
        return "no answer"


def _with_version(version: str) -> str:
    return SERVICE.replace('{"status": "UP",', f'{{"status": "UP", "version": "{version}",')


@pytest.mark.parametrize("name", BOTH)
def test_code_change_restarts_service_and_ctrl_c_leaves_fleet_running(
    name: str, dev: Dev, fleet: Fleet, checkout: Path
) -> None:
    down(fleet)
    with dev(name) as terminal:
        terminal.shows(f"{name} is ready on {fleet.service(name).url}")
        assert _version(fleet, name) == "none"
        (checkout / name / "app" / "main.py").write_text(_with_version("the second"))
        terminal.shows("app/main.py changed")
        assert wait_until(lambda: _version(fleet, name) == "the second", 60), terminal.text
        terminal.shows("Application startup complete")  # the service's log, live
        assert terminal.interrupt() == 0
        terminal.shows(f"{name} keeps running, without restarts")
    assert _version(fleet, name) == "the second"
    assert all(part.runner.alive() for part in fleet.parts)
    assert main(["up"]) == 0


def test_watched_service_has_environment_and_port_of_the_fleet(dev: Dev, fleet: Fleet) -> None:
    down(fleet)
    assert main(["up"]) == 0
    program = fleet.service("product-service")
    _, before = program.ask("/env")
    first = fleet.part("product-service").runner.identity
    with dev("product") as terminal:
        terminal.shows("is ready on")
        _, now = program.ask("/env")
        assert fleet.part("product-service").runner.identity != first
        terminal.interrupt()
    assert now == before


def test_broken_code_is_reported_and_fixed_code_starts(
    dev: Dev, fleet: Fleet, checkout: Path
) -> None:
    code = checkout / "product-service" / "app" / "main.py"
    code.write_text("raise SystemExit('not yet')", encoding="utf-8")
    with dev("product-service") as terminal:
        terminal.shows("not yet")
        terminal.shows("product-service has died")
        assert fleet.part("mongo").runner.alive()  # the broken service stops no other part
        code.write_text(_with_version("mended"), encoding="utf-8")
        terminal.shows("is ready on")
        assert _version(fleet, "product-service") == "mended"
        terminal.interrupt()


def test_ctrl_c_with_broken_code_fails_with_hint(dev: Dev, fleet: Fleet, checkout: Path) -> None:
    code = checkout / "product-service" / "app" / "main.py"
    code.write_text("raise SystemExit('never')", encoding="utf-8")
    with dev("product-service") as terminal:
        terminal.shows("product-service has died")
        assert terminal.interrupt() == 1
        terminal.shows(r"never\s+Fix the code, then run: make restart s=product-service")
    code.write_text(SERVICE, encoding="utf-8")
    assert main(["restart", "product-service"]) == 0


def test_change_of_chassis_restarts_service(dev: Dev, fleet: Fleet, checkout: Path) -> None:
    chassis = checkout / "libs" / "chassis" / "chassis"
    chassis.mkdir(parents=True, exist_ok=True)
    with dev("product-service") as terminal:
        terminal.shows("is ready on")
        first = fleet.part("product-service").runner.identity
        (chassis / "web.py").write_text("", encoding="utf-8")
        terminal.shows("libs/chassis/chassis/web.py changed")
        terminal.shows(r"is ready on(?s:.*)is ready on")
        assert fleet.part("product-service").runner.identity != first
        terminal.interrupt()


def test_service_stopped_by_another_command_stays_stopped(dev: Dev, fleet: Fleet) -> None:
    with dev("product-service") as terminal:
        terminal.shows("is ready on")
        assert main(["down"]) == 0
        assert terminal.wait() == 0
        terminal.shows("Another command has stopped product-service")
    assert not any(part.runner.alive() for part in fleet.parts)


def test_killed_terminal_leaves_service_running(dev: Dev, fleet: Fleet) -> None:
    with dev("product-service") as terminal:
        terminal.shows("is ready on")
    assert _version(fleet, "product-service") == "none"
    assert main(["status"]) == 0


@pytest.mark.parametrize(
    ("name", "said"), [("mongo", "mongo is not a service"), ("", "Say which one with s=<name>")]
)
def test_dev_refuses_servers_and_missing_name(
    name: str, said: str, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dev", name]) == 1
    assert said in capsys.readouterr().err
