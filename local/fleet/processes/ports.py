"""Find free ports, and name the process that listens on a taken one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil

from fleet.errors import FleetError
from fleet.processes.program import HOST, Port

_TEST_RANGE = range(15_000, 32_000)
"""Below every system's range for outgoing connections.

A free port of that range would be a trap for outage tests: while the server is away, a client that
keeps dialling its port can be given that very port to dial from, and then talks to itself.
"""

_BLOCK = 50
"""Ports that a process reserves at a time."""


def is_free(port: int) -> bool:
    """Return whether a new server could listen on the port and clients would reach it.

    Connects and binds: macOS allows a listener on 127.0.0.1 beside one on all interfaces.
    """
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port that no other call returns, in this process or another.

    A test may start its server long after it chose the port, and again after an outage.
    """
    return next(_reserved_ports())


@cache
def _reserved_ports() -> Iterator[int]:
    """Yield the free ports of blocks that this process has locked; its end unlocks them."""
    folder = Path(tempfile.gettempdir()) / f"test-ports-of-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    blocks = range(_TEST_RANGE.start, _TEST_RANGE.stop, _BLOCK)
    with contextlib.ExitStack() as locked:
        for first in random.sample(blocks, len(blocks)):
            handle = locked.enter_context((folder / str(first)).open("a"))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield from filter(is_free, range(first, first + _BLOCK))
    raise FleetError(f"No free port found between {_TEST_RANGE.start} and {_TEST_RANGE.stop}.")


def ensure_free(name: str, port: Port) -> None:
    """Refuse a taken port, naming it, its holder and the variable that moves it."""
    if is_free(port.number):
        return
    raise FleetError(
        f"Port {port.number} for {name} is already taken by {_holder(port.number)}. "
        f"Stop that program, or choose another port: {port.variable}=<port> make up"
    )


def _holder(port: int) -> str:
    """Name the process that listens on a port, as far as this user may see it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:  # macOS shows other processes' sockets to root only
        connections = []
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
            if connection.pid is None:
                break
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return "another program (its owner is hidden from this user)"
