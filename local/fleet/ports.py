"""Ports: which are free, and who holds one that is not."""

from __future__ import annotations

import contextlib
import random
import socket

import psutil

from fleet.errors import FleetError
from fleet.program import HOST, Port

_TEST_RANGE = range(15_000, 32_000)
"""Below every system's range for outgoing connections.

A free port of that range would be a trap for outage tests: while the server is away, a client that
keeps dialling its port can be given that very port to dial from, and then talks to itself.
"""


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now, and clients would reach it and no other.

    Asked both ways: macOS lets one listen on 127.0.0.1 beside another's listener on all interfaces.
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
    """A port for a test's server."""
    for port in random.sample(_TEST_RANGE, 200):
        if is_free(port):
            return port
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
