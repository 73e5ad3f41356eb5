"""The interface of a program that the launcher starts, server or service."""

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
"""Address of all listeners of the fleet; other machines cannot reach it."""


@dataclass(frozen=True)
class Command:
    """How to start one process: arguments, environment, working directory, and user (for root)."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    uid: int | None = None
    gid: int | None = None


def require_page(port: int, path: str) -> None:
    """GET a path on this machine; raise ``NotReady`` unless the status is 200."""
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
    """A port that a program listens on, and the environment variable that sets it."""

    number: int
    variable: str = field(default="")


class Program(ABC):
    """One process of the fleet: preparation, command, health check, stop signal."""

    name: str
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_grace: ClassVar[float] = 10.0

    def __init__(self, name: str, ports: Sequence[Port]) -> None:
        """``name`` is also the name of the pid file and the log file."""
        self.name = name
        self.ports = tuple(ports)

    @property
    def port(self) -> int:
        """The first port."""
        return self.ports[0].number

    def prepare(self, log: Path) -> None:  # noqa: B027 - most programs need no preparation
        """Create the program's state before the start.

        Output goes to ``log``. Raises ``FleetError`` on failure.
        """

    @abstractmethod
    def command(self) -> Command:
        """Return the command to start, after ``prepare``."""

    @abstractmethod
    def check(self) -> None:
        """Make one request over the program's protocol; raise ``NotReady`` on failure."""

    def after_start(self) -> None:  # noqa: B027 - most programs need no setup
        """Set up databases or topics. Runs after every start, so it must be idempotent."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from code that may itself run inside an event loop.

    Uses a thread, because ``asyncio.run`` cannot be nested.
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
