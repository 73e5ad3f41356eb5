"""Start and stop the fleet. Each part starts as soon as its dependencies are ready."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from fleet.errors import FleetError
from fleet.launcher.composition import Fleet, Part
from fleet.launcher.consumers import await_consumers
from fleet.launcher.lock import exclusive
from fleet.launcher.service_program import ServiceProgram
from fleet.processes.ports import ensure_free
from fleet.terminal import paint, say

_STATE = ("run", "logs", "postgres", "mongo", "kafka", "identity", "valkey", "lock")
"""Files and folders of the fleet in its state folder. A reset deletes these and no others."""


class _Skipped(Exception):
    """A dependency of this part did not start. The dependency's failure is reported."""


def up(fleet: Fleet, *, without: Part | None = None) -> list[Part]:
    """Start all stopped parts except ``without``; return them when all are ready."""
    fleet.settings.ensure_state()
    with exclusive(fleet.settings.state):
        wanted = [part for part in fleet.parts if part is not without]
        missing = [part for part in wanted if not part.runner.alive()]
        for part in wanted:
            if part not in missing:
                _refuse_paused(part)
        ensure_startable(missing)
        return _Start(fleet, wanted, missing).run()


def down(fleet: Fleet, only: Sequence[Part] | None = None) -> None:
    """Stop all services, then all servers."""
    chosen = [*fleet.parts, *fleet.leftovers()] if only is None else only
    known = [part for part in chosen if part.runner.identity is not None]
    if not known:
        say("Nothing is running.")
        return
    with exclusive(fleet.settings.state):
        stop(known)
    say(f"Stopped {len(known)} processes.")


def stop(parts: Sequence[Part]) -> None:
    """Stop these parts, services before servers, each group in parallel."""
    for services in (True, False):
        chosen = [part for part in parts if part.is_service is services]
        if chosen:
            with ThreadPoolExecutor(len(chosen)) as pool:
                list(pool.map(lambda part: part.runner.stop(), chosen))


def reset(fleet: Fleet) -> None:
    """Stop all parts and delete their data and logs."""
    down(fleet)
    for name in _STATE:
        path = fleet.settings.state / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # missing, or contains files of the user
        fleet.settings.state.rmdir()
    say("All local data is deleted.")


def _refuse_paused(part: Part) -> None:
    identity = part.runner.identity
    if identity is not None and identity.paused():
        raise FleetError(f"{part.name} is paused. Resume it first: make resume s={part.name}")


def ensure_startable(missing: Sequence[Part]) -> None:
    """Check environments and ports before the first process starts."""
    for part in missing:
        program = part.runner.program
        if isinstance(program, ServiceProgram) and not program.has_environment:
            raise FleetError(f"{part.name} has no environment yet. Create it with: make setup")
    for part in missing:
        for port in part.runner.program.ports:
            ensure_free(part.name, port)


class _Start:
    """One start: a thread for each part, which waits for the part's dependencies."""

    def __init__(self, fleet: Fleet, wanted: Sequence[Part], missing: Sequence[Part]) -> None:
        self._fleet = fleet
        self._wanted = list(wanted)
        self._missing = list(missing)
        self._cancelled = threading.Event()
        self._began = time.monotonic()
        self._futures: dict[str, Future[None]] = {}

    def run(self) -> list[Part]:
        """Start all parts. On the first failure stop the started parts and raise that failure."""
        for external in self._fleet.externals:
            external.reach()
            if self._missing:
                self._report(external.name, f"external, {external.host}:{external.port}")
        with ThreadPoolExecutor(len(self._wanted)) as pool:
            try:
                for part in self._wanted:  # servers first: dependencies are submitted already
                    self._futures[part.name] = pool.submit(self._bring_up, part)
                self._await_all()
            except BaseException:
                self._cancelled.set()
                wait(self._futures.values())
                stop(self._missing)
                raise
        if self._missing:
            say(f"All parts are ready after {self._seconds():.1f} s.")
            await_consumers(self._services())
        else:
            say("All parts are running already.")
        return self._missing

    def _services(self) -> list[ServiceProgram]:
        programs = [part.runner.program for part in self._wanted]
        return [program for program in programs if isinstance(program, ServiceProgram)]

    def _await_all(self) -> None:
        pending = set(self._futures.values())
        while pending:
            done, pending = wait(pending, return_when="FIRST_COMPLETED")
            for future in done:
                error = future.exception()
                if error is not None and not isinstance(error, _Skipped):
                    raise error

    def _bring_up(self, part: Part) -> None:
        for need in part.needs:
            future = self._futures.get(need)
            if future is not None and future.exception() is not None:
                raise _Skipped
        if self._cancelled.is_set():
            raise _Skipped
        part.runner.start(self._cancelled)
        if part in self._missing:
            ports = ", ".join(str(port.number) for port in part.runner.program.ports)
            self._report(part.name, f"port {ports}")

    def _report(self, name: str, where: str) -> None:
        say(f"  {paint('up', 'green')}  {name:<22} {where:<20} {self._seconds():5.1f} s")

    def _seconds(self) -> float:
        return time.monotonic() - self._began
