"""Start, monitor and stop one program. Its state is in a pid file and a log file."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import psutil

from fleet.errors import Died, FleetError, NotReady
from fleet.processes.log_format import pretty
from fleet.processes.process_identity import Identity, PidFile
from fleet.processes.program import Program
from fleet.terminal import say

P = TypeVar("P", bound=Program)

LOG_LIMIT = 10 * 1024 * 1024
START_TIMEOUT = "FLEET_START_TIMEOUT_SECONDS"
DEFAULT_START_TIMEOUT_SECONDS = 60.0
PROGRESS_SECONDS = 10.0
_POLL = 0.03

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this process, which it must reap: a zombie would count as running."""


class Runner(Generic[P]):
    """Controls one program. The caller need not be the process that started it."""

    def __init__(self, program: P, state: Path) -> None:
        """``state`` is the parent of the folders ``run/`` and ``logs/``."""
        self.program = program
        self.pid_file = PidFile(state / "run" / f"{program.name}.json")
        self.log = state / "logs" / f"{program.name}.log"

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def identity(self) -> Identity | None:
        """The process that was started last, unless it was stopped. It may have died."""
        return self.pid_file.read()

    def alive(self) -> bool:
        """Return whether the process runs or is paused."""
        identity = self.identity
        if identity is None:
            return False
        if identity.alive():
            return True
        reap(identity.pid)
        return False

    def spawn(self) -> Identity:
        """Prepare and start the process. Do not wait until it is ready."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(self.log)
        self.program.prepare(self.log)
        command = self.program.command()
        with self.log.open("ab") as output:
            child = subprocess.Popen(
                list(command.argv),
                env=dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=command.uid,
                group=command.gid,
                extra_groups=None if command.uid is None else [],
            )
        _children[child.pid] = child
        try:
            identity = Identity.of(child.pid)
        except psutil.NoSuchProcess:
            raise self._died() from None
        self.pid_file.write(identity)
        return identity

    def wait_ready(self, cancelled: threading.Event | None = None) -> None:
        """Wait until the program is ready, and print progress every ten seconds.

        Raises ``Died`` if the process exits, ``FleetError`` after the start timeout or when
        ``cancelled`` is set.
        """
        reason = ""
        timeout = start_timeout()
        started = reported = time.monotonic()

        def is_ready() -> bool:
            nonlocal reason, reported
            if not self.alive():
                raise self._died()
            if cancelled is not None and cancelled.is_set():
                raise FleetError(f"{self.name}: start cancelled, another part failed to start")
            try:
                self.program.check()
            except NotReady as error:
                reason = str(error)
            else:
                return True
            now = time.monotonic()
            if now - reported >= PROGRESS_SECONDS:
                reported = now
                say(f"  waiting for {self.name}: {now - started:.0f} s ({reason})")
            return False

        if not wait_until(is_ready, timeout):
            raise FleetError(
                f"{self.name} runs but is not ready after {timeout:.0f} s ({reason}). If this"
                f" machine is busy, allow more time: {START_TIMEOUT}={2 * timeout:.0f} make up."
                f" The end of its log:\n{self.log_tail()}"
            )

    def start(self, cancelled: threading.Event | None = None) -> None:
        """Start the program unless it runs, wait until it is ready, and set it up."""
        if not self.alive():
            self.spawn()
        self.wait_ready(cancelled)
        self.program.after_start()

    def stop(self) -> None:
        """Stop the process; kill it after its grace time. Delete the pid file."""
        identity = self.identity
        if identity is not None:
            family = identity.family()
            identity.signal(self.program.stop_signal)
            # A paused process handles no signal before it continues.
            identity.signal_family(signal.SIGCONT)
            if not wait_until(lambda: not self.alive(), self.program.stop_grace):
                identity.signal_family(signal.SIGKILL)
            self._await_end(family)
        self.pid_file.clear()

    def kill(self) -> None:
        """Kill the process and its descendants. ``make status`` shows it as dead, not stopped."""
        identity = self.identity
        if identity is not None:
            self.pid_file.mark_killed()  # first: `make demo` polls for dead processes
            self._await_end(identity.signal_family(signal.SIGKILL))

    def pause(self) -> None:
        """Send SIGSTOP: the process keeps its port and connections but answers no request."""
        self._living().signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT after ``pause``."""
        self._living().signal_family(signal.SIGCONT)

    def restart(self) -> None:
        """Stop the program if it runs, and start it."""
        self.stop()
        self.start()

    def describe_death(self) -> str:
        """Return why a process is dead: killed by the user, or the end of its log."""
        again = f"Start it again with: make restart s={self.name}"
        if self.pid_file.killed():
            return f"{self.name} was killed by you. {again}"
        return f"{self.name} has died. The end of its log:\n{self.log_tail()}\n{again}"

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the log, indented."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            text = ""
        tail = text.splitlines()[-lines:] or ["(empty)"]
        return "\n".join(f"    {pretty(line)}" for line in tail)

    def _living(self) -> Identity:
        identity = self.identity
        if identity is None or not identity.alive():
            raise FleetError(f"{self.name} is not running.")
        return identity

    def _died(self) -> Died:
        return Died(self.name, self.log_tail())

    def _await_end(self, family: list[psutil.Process]) -> None:
        """Wait for the whole family: PostgreSQL refuses to start while an old backend lives."""

        def ended() -> bool:
            if self.alive():
                return False
            return not any(_runs(process) for process in family)

        if not wait_until(ended, 10.0):
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Poll a condition, at least once. Return False after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def start_timeout() -> float:
    """Return how many seconds a program may take to become ready."""
    text = os.environ.get(START_TIMEOUT) or str(DEFAULT_START_TIMEOUT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise FleetError(f"{START_TIMEOUT}={text} is not a positive number of seconds.")
    return seconds


def reap(pid: int) -> None:
    """Collect the exit code of an exited child of this process.

    Waits, because a zombie with exiting threads cannot be collected immediately.
    """
    child = _children.pop(pid, None)
    if child is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5.0)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _rotate(log: Path) -> None:
    """Rename a large log. One older log is kept."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
