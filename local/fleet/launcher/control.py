"""What is done to one part on purpose: kill, pause, resume, restart, dev."""

from __future__ import annotations

import time

from fleet.errors import FleetError
from fleet.launcher.composition import Fleet
from fleet.launcher.lock import exclusive
from fleet.processes.ports import ensure_free
from fleet.terminal import say


def kill(fleet: Fleet, name: str) -> None:
    """kill -9, as a crash would: nothing is flushed, nobody is told."""
    runner = fleet.part(name).runner
    if not runner.alive():
        raise FleetError(f"{runner.name} is not running.")
    runner.kill()
    say(f"Killed {runner.name}. Start it again with: make restart s={runner.name}")


def pause(fleet: Fleet, name: str) -> None:
    """SIGSTOP: connections stay open and nobody answers."""
    runner = fleet.part(name).runner
    runner.pause()
    say(f"Paused {runner.name}. Let it go on with: make resume s={runner.name}")


def resume(fleet: Fleet, name: str) -> None:
    """SIGCONT."""
    runner = fleet.part(name).runner
    runner.resume()
    say(f"{runner.name} goes on.")


def restart(fleet: Fleet, name: str) -> None:
    """Stop it if it runs, start it, and return when it answers; Kafka gets its topics again."""
    part = fleet.part(name)
    began = time.monotonic()
    for need in part.needs:
        if fleet.runs_itself(need) and fleet.part(need).runner.identity is None:
            raise FleetError(f"{part.name} needs {need}, which is stopped. Start both: make up")
    fleet.settings.ensure_state()
    with exclusive(fleet.settings.state):
        part.runner.stop()
        for port in part.runner.program.ports:
            ensure_free(part.name, port)
        part.runner.start()
    say(f"{part.name} answers again after {time.monotonic() - began:.1f} s.")


def dev(fleet: Fleet, name: str) -> None:
    """Start it anew on each change of its code, its log on the terminal, until Ctrl-C."""
    from fleet.tools.dev import dev

    dev(fleet, name)
