"""One service with its code watched: every change starts it anew, and its log is on the terminal.

It stays the fleet's own process throughout: the same command, port, environment, pid file and log,
with the rest of the fleet beside it. So it does not matter how the watching ends, and whatever is
done to the service from another terminal (kill, pause, restart, down) means this one.
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
from fleet.launcher.launch import ensure_startable, up
from fleet.launcher.lock import exclusive
from fleet.launcher.service_program import ServiceProgram
from fleet.processes.logline import pretty
from fleet.processes.process_identity import Identity
from fleet.terminal import complain, paint, say
from fleet.tools.logs import Tail

_LOOK_EVERY_MS = 200
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def dev(fleet: Fleet, name: str) -> None:
    """Start what is not running, then this service on each change, until Ctrl-C."""
    part = fleet.part_by_prefix(name)
    program = fleet.service(part.name)
    up(fleet, without=part)
    folders = sources(fleet.settings.root, program)
    shown = ", ".join(os.path.relpath(folder, fleet.settings.root) for folder in folders)
    say(paint(f"{part.name} starts anew when something changes in {shown}. Until Ctrl-C.", "bold"))
    with _ended_by_signal() as ended:
        watched = _Watched(fleet, part, program)
        # Watched from before the first start on: what changes meanwhile is not missed.
        for changes in watch(
            *folders,
            watch_filter=DefaultFilter(),
            stop_event=ended,
            rust_timeout=_LOOK_EVERY_MS,
            yield_on_timeout=True,
        ):
            watched.look([path for _, path in changes])
            if watched.taken_down:
                say(f"{part.name} was stopped from elsewhere.")
                return
        watched.leave()


def sources(root: Path, program: ServiceProgram) -> list[Path]:
    """The folders that a service's code is in; the chassis is everybody's."""
    mine = [program.folder / "app", program.folder / "migrations"]
    return [path for path in [*mine, root / "libs/chassis/chassis"] if path.is_dir()]


class _Watched:
    """The service, and what has been said of it."""

    def __init__(self, fleet: Fleet, part: Part, program: ServiceProgram) -> None:
        self._fleet = fleet
        self._part = part
        self._program = program
        self._log = Tail(part.runner.log)
        self._log.last(0)  # what was logged before is of no interest
        self._due = True  # it has to be started
        self._failed = False  # and could not
        self._began: float | None = None  # when it was, until it answers
        self._buried: Identity | None = None
        self.taken_down = False

    def look(self, changed: list[str]) -> None:
        """Start it anew if its code has changed; tell its log, its first answer and its death."""
        if changed:
            root = self._fleet.settings.root
            first, *others = sorted(os.path.relpath(path, root) for path in changed)
            more = f" and {len(others)} more" if others else ""
            say(paint(f"{first}{more} changed: {self._part.name} starts anew.", "bold"))
            self._due = True
        if self._due:
            self._start()
        self._show_log()
        if not self._due and not self._failed:
            self._tell_of_life()

    def leave(self) -> None:
        """Give it back, with the code of now and answering, or say why that is not to be had."""
        runner = self._part.runner
        try:
            with exclusive(self._fleet.settings.state):
                if self._due:
                    runner.stop()
                runner.start()
        except FleetError as error:
            mended = f"When that is mended: make restart s={self._part.name}"
            raise FleetError(f"{error}\n{mended}") from error
        finally:
            self._show_log()
        say(f"\n{self._part.name} goes on in the fleet, unwatched. Stop everything: make down")

    def _start(self) -> None:
        """Stop it and start it, without waiting for its answer; later, where the fleet is busy."""
        try:
            with exclusive(self._fleet.settings.state):
                self._due, self._failed = False, False
                self._part.runner.stop()
                ensure_startable([self._part])
                self._began = time.monotonic()
                self._part.runner.spawn()
        except Busy:
            self._due = True
        except FleetError as error:  # its migrations, a taken port
            self._failed = True
            complain(f"{error}\nIt is tried again when its code changes.")

    def _tell_of_life(self) -> None:
        identity = self._part.runner.identity
        if identity is None:
            self.taken_down = True
        elif not self._part.runner.alive():
            if identity != self._buried:
                self._buried = identity
                died = paint(f"{self._part.name} has died.", "red")
                complain(f"{died} It starts anew when its code changes.")
        elif self._began is not None:
            try:
                self._program.check()
            except NotReady:
                return
            took = time.monotonic() - self._began
            say(paint(f"{self._part.name} answers on {self._program.url}, {took:.1f} s.", "green"))
            self._began = None

    def _show_log(self) -> None:
        for line in self._log.new():
            say(pretty(line))


@contextmanager
def _ended_by_signal() -> Iterator[threading.Event]:
    """Ctrl-C and its like between two looks, never in the middle of a start."""
    ended = threading.Event()
    previous = {number: signal.signal(number, lambda *_: ended.set()) for number in _SIGNALS}
    try:
        yield ended
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
