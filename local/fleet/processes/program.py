"""What the launcher knows about anything it starts, server or service."""

from __future__ import annotations

import asyncio
import http.client
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from fleet.errors import NotReady

T = TypeVar("T")

HOST = "127.0.0.1"
"""Every listener of the local fleet: nothing here is reachable from another machine."""


@dataclass(frozen=True)
class Command:
    """How to start one process: arguments, the whole environment, folder and (for root) user."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    uid: int | None = None
    gid: int | None = None


def require_page(port: int, path: str) -> None:
    """GET a path on this machine; raises ``NotReady`` where the answer is not 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if status != 200:
        raise NotReady(f"{path} answered {status}")


@dataclass(frozen=True)
class Port:
    """A port that a program listens on, and the environment variable that moves it."""

    number: int
    variable: str = field(default="")


class Program(ABC):
    """One process of the fleet: how its state is prepared, it is started, asked and stopped."""

    name: str
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_grace: ClassVar[float] = 10.0
    start_timeout: ClassVar[float] = 30.0

    def __init__(self, name: str, ports: Sequence[Port]) -> None:
        """Keep the name (pid and log files carry it) and the ports."""
        self.name = name
        self.ports = tuple(ports)

    @property
    def port(self) -> int:
        """The first, or only, port."""
        return self.ports[0].number

    def prepare(self, log: Path) -> None:  # noqa: B027 - nothing to prepare is the common case
        """Bring the state into being before the start; may run for a second or two.

        What it has to say beyond success goes to ``log``; a failure is a ``FleetError``.
        """

    @abstractmethod
    def command(self) -> Command:
        """The process to start, after ``prepare``."""

    @abstractmethod
    def check(self) -> None:
        """Make one real request over the program's own protocol; raises ``NotReady``."""

    def after_start(self) -> None:  # noqa: B027 - most programs need nothing more
        """Run once the check has passed, after every start: databases, topics. Repeatable."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from code that may itself be called inside an event loop.

    A thread with a loop of its own, because ``asyncio.run`` refuses to nest and pytest-asyncio's
    session loop must stay what it is.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            result.append(asyncio.run(work))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target, name="fleet-run-async")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
