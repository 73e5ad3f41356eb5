"""``make dev``: restart one service on each change of its code, and print its log.

The service remains an ordinary process of the fleet, with its usual command, port, pid file and
log. Other commands (kill, pause, restart, down) therefore act on it as usual.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watchfiles import DefaultFilter, watch

from fleet.errors import Busy, FleetError, NotReady
from fleet.launcher.composition import Fleet, Part
from fleet.launcher.lock import exclusive
from fleet.launcher.service_program import ServiceProgram
from fleet.launcher.start_stop import ensure_startable, up
from fleet.processes.log_format import pretty
from fleet.processes.process_identity import Identity
from fleet.terminal import complain, paint, say
from fleet.tools.logs import Tail

_LOOK_EVERY_MS = 200
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def dev(fleet: Fleet, name: str) -> None:
    """Start the fleet, then restart this service on each change, until Ctrl-C."""
    part = fleet.part_by_prefix(name)
    program = fleet.service(part.name)
    up(fleet, without=part)
    folders = sources(fleet.settings.root, program)
    shown = ", ".join(os.path.relpath(folder, fleet.settings.root) for folder in folders)
    say(paint(f"{part.name} restarts on each change in {shown}. Stop with Ctrl-C.", "bold"))
    with _ended_by_signal() as ended:
        watched = _Watched(fleet, part, program)
        # Watch before the first start, so that a change during the start is not missed.
        for changes in watch(
            *folders,
            watch_filter=DefaultFilter(),
            stop_event=ended,
            rust_timeout=_LOOK_EVERY_MS,
            yield_on_timeout=True,
        ):
            watched.look([path for _, path in changes])
            if watched.taken_down:
                say(f"Another command has stopped {part.name}.")
                return
        watched.leave()


def sources(root: Path, program: ServiceProgram) -> list[Path]:
    """Return the folders of a service's code, including the chassis."""
    mine = [program.folder / "app", program.folder / "migrations"]
    return [path for path in [*mine, root / "libs/chassis/chassis"] if path.is_dir()]


class _Watched:
    """The watched service and the state of its restarts."""

    def __init__(self, fleet: Fleet, part: Part, program: ServiceProgram) -> None:
        self._fleet = fleet
        self._part = part
        self._program = program
        self._log = Tail(part.runner.log)
        self._log.last(0)  # skip earlier lines
        self._due = True  # a restart is due
        self._failed = False  # the last start failed
        self._began: float | None = None  # time of the start, None once the service is ready
        self._reported_dead: Identity | None = None
        self.taken_down = False

    def look(self, changed: list[str]) -> None:
        """Restart the service if its code has changed; print its log, readiness and death."""
        if changed:
            root = self._fleet.settings.root
            first, *others = sorted(os.path.relpath(path, root) for path in changed)
            more = f" and {len(others)} more" if others else ""
            say(paint(f"{first}{more} changed: restarting {self._part.name}.", "bold"))
            self._due = True
        if self._due:
            self._start()
        self._show_log()
        if not self._due and not self._failed:
            self._report_state()

    def leave(self) -> None:
        """Leave the service running with its current code, or raise why it does not run."""
        runner = self._part.runner
        try:
            with exclusive(self._fleet.settings.state):
                if self._due:
                    runner.stop()
                runner.start()
        except FleetError as error:
            hint = f"Fix the code, then run: make restart s={self._part.name}"
            raise FleetError(f"{error}\n{hint}") from error
        finally:
            self._show_log()
        say(f"\n{self._part.name} keeps running, without restarts. Stop the fleet: make down")

    def _start(self) -> None:
        """Restart without waiting for readiness. Retry later if another command has the lock."""
        try:
            with exclusive(self._fleet.settings.state):
                self._due, self._failed = False, False
                self._part.runner.stop()
                ensure_startable([self._part])
                self._began = time.monotonic()
                self._part.runner.spawn()
        except Busy:
            self._due = True
        except FleetError as error:  # failed migrations, a taken port
            self._failed = True
            complain(f"{error}\nThe next change of its code starts it again.")

    def _report_state(self) -> None:
        identity = self._part.runner.identity
        if identity is None:
            self.taken_down = True
        elif not self._part.runner.alive():
            if identity != self._reported_dead:
                self._reported_dead = identity
                died = paint(f"{self._part.name} has died.", "red")
                complain(f"{died} The next change of its code starts it again.")
        elif self._began is not None:
            try:
                self._program.check()
            except NotReady:
                return
            took = time.monotonic() - self._began
            ready = f"{self._part.name} is ready on {self._program.url} after {took:.1f} s."
            say(paint(ready, "green"))
            self._began = None

    def _show_log(self) -> None:
        for line in self._log.new():
            say(pretty(line))


@contextmanager
def _ended_by_signal() -> Iterator[threading.Event]:
    """Handle SIGINT, SIGTERM and SIGHUP between two polls, never during a start."""
    ended = threading.Event()
    previous = {number: signal.signal(number, lambda *_: ended.set()) for number in _SIGNALS}
    try:
        yield ended
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
