"""Starts, watches and stops one program; what it knows lives in a pid file and a log file."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import psutil

from fleet.errors import Died, FleetError, NotReady
from fleet.processes.logline import pretty
from fleet.processes.process_identity import Identity, PidFile
from fleet.processes.program import Program

P = TypeVar("P", bound=Program)

LOG_LIMIT = 10 * 1024 * 1024
_POLL = 0.03

_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process started itself, so that it can reap them: a zombie is not a running server."""


class Runner(Generic[P]):
    """The life of one program: every method may be called from another process than the starter."""

    def __init__(self, program: P, state: Path) -> None:
        """``state`` is the folder under which ``run/`` and ``logs/`` lie."""
        self.program = program
        self.pid_file = PidFile(state / "run" / f"{program.name}.json")
        self.log = state / "logs" / f"{program.name}.log"

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def identity(self) -> Identity | None:
        """The process last started and not stopped on purpose; it may be dead."""
        return self.pid_file.read()

    def alive(self) -> bool:
        """Whether the process runs (or is paused)."""
        identity = self.identity
        if identity is None:
            return False
        if identity.alive():
            return True
        reap(identity.pid)  # only now: asked a moment before its end it would stay a zombie
        return False

    def spawn(self) -> Identity:
        """Prepare the state and start the process, without waiting for its answer."""
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
        """Return once the program answers; raise as soon as it has died, or took too long."""
        why = ""

        def answers() -> bool:
            nonlocal why
            if not self.alive():
                raise self._died()
            if cancelled is not None and cancelled.is_set():
                raise FleetError(f"{self.name}: given up, another part failed to start")
            try:
                self.program.check()
            except NotReady as error:
                why = str(error)
                return False
            return True

        if not wait_until(answers, self.program.start_timeout):
            raise FleetError(
                f"{self.name} runs but did not answer within {self.program.start_timeout:.0f} s"
                f" ({why}). The end of its log:\n{self.log_tail()}"
            )

    def start(self, cancelled: threading.Event | None = None) -> None:
        """Start the program and return when it answers and is set up; does nothing when it runs."""
        if not self.alive():
            self.spawn()
        self.wait_ready(cancelled)
        self.program.after_start()

    def stop(self) -> None:
        """Ask the process to end, insist after its grace time, and forget it."""
        identity = self.identity
        if identity is not None:
            family = identity.family()
            identity.signal(self.program.stop_signal)
            # A stopped process takes no signal before it continues.
            identity.signal_family(signal.SIGCONT)
            if not wait_until(lambda: not self.alive(), self.program.stop_grace):
                identity.signal_family(signal.SIGKILL)
            self._await_end(family)
        self.pid_file.clear()

    def kill(self) -> None:
        """SIGKILL to the process and its descendants; it counts as dead, not as stopped."""
        identity = self.identity
        if identity is not None:
            self.pid_file.mark_killed()  # first: `make demo` looks for dead processes all the time
            self._await_end(identity.signal_family(signal.SIGKILL))

    def pause(self) -> None:
        """SIGSTOP: the process keeps its port and its connections and answers nobody."""
        self._living().signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after ``pause``."""
        self._living().signal_family(signal.SIGCONT)

    def restart(self) -> None:
        """Stop the program if it runs, and start it."""
        self.stop()
        self.start()

    def describe_death(self) -> str:
        """Say how a dead process ended: killed by the user, or else the end of its log."""
        again = f"Start it again with: make restart s={self.name}"
        if self.pid_file.killed():
            return f"{self.name} was killed by you. {again}"
        return f"{self.name} has died. The end of its log:\n{self.log_tail()}\n{again}"

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log, indented for a report."""
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
        """Wait for all of a family: a postmaster refuses to start while an old backend lives."""

        def ended() -> bool:
            if self.alive():
                return False
            return not any(_runs(process) for process in family)

        if not wait_until(ended, 10.0):
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Ask for a condition again and again, at least once; False when time is up."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)  # the pause between two looks, never the condition itself
    return True


def reap(pid: int) -> None:
    """Collect the exit code of a process that has ended, if it is a child of this one.

    A wait rather than a look: with threads left to end, a zombie cannot be collected for a moment.
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
    """Keep one older log: a fleet that runs for weeks must not fill the disk."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
