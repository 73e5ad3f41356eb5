"""Commands on one part: kill, pause, resume, restart, dev."""

from __future__ import annotations

import time

from fleet.errors import FleetError
from fleet.launcher.composition import Fleet
from fleet.launcher.lock import exclusive
from fleet.processes.ports import ensure_free
from fleet.terminal import say

CIRCUIT_RESET_SECONDS = 5
"""How long a circuit breaker stays open after timeouts (``chassis.http_client.breaker``)."""


def kill(fleet: Fleet, name: str) -> None:
    """Send SIGKILL, which simulates a crash."""
    runner = fleet.part(name).runner
    if not runner.alive():
        raise FleetError(f"{runner.name} is not running.")
    runner.kill()
    say(f"Killed {runner.name}. Start it again with: make restart s={runner.name}")


def pause(fleet: Fleet, name: str) -> None:
    """Send SIGSTOP: connections stay open, requests get no answer."""
    runner = fleet.part(name).runner
    runner.pause()
    say(f"Paused {runner.name}. Resume it with: make resume s={runner.name}")


def resume(fleet: Fleet, name: str) -> None:
    """Send SIGCONT after ``pause``."""
    runner = fleet.part(name).runner
    runner.resume()
    say(f"Resumed {runner.name}.")


def restart(fleet: Fleet, name: str) -> None:
    """Stop and start a part, and wait until it is ready. Kafka's topics are created again."""
    part = fleet.part(name)
    began = time.monotonic()
    for need in part.needs:
        if fleet.runs_itself(need) and fleet.part(need).runner.identity is None:
            raise FleetError(f"{part.name} needs {need}, which is not running. Run: make up")
    fleet.settings.ensure_state()
    with exclusive(fleet.settings.state):
        part.runner.stop()
        for port in part.runner.program.ports:
            ensure_free(part.name, port)
        part.runner.start()
    say(f"{part.name} is ready after {time.monotonic() - began:.1f} s.")
    if part.is_service:
        say(
            "A circuit breaker that opened in a calling service lets requests through again"
            f" after at most {CIRCUIT_RESET_SECONDS} s."
        )


def dev(fleet: Fleet, name: str) -> None:
    """Restart a service on each change of its code and print its log, until Ctrl-C."""
    from fleet.tools.dev import dev

    dev(fleet, name)
