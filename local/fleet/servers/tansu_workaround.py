"""Run the Tansu broker with a child process that works around a bug in its rebalance.

In Tansu 0.6.0 a consumer group whose leader leaves during a rebalance keeps that leader, so no
member ever gets a partition again. Nine seconds of a paused broker, or the restart of one of two
replicas at the wrong moment, trigger the bug. Tansu drops the absent leader when it reloads the
group from its store, which happens when two requests for the group conflict. The child process
polls the groups. For a group that stays in a rebalance it sends heartbeats of an unknown member
over several connections, to cause that conflict. The broker refuses these heartbeats.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from contextlib import ExitStack

from fleet.processes.program import HOST

LOOK = 1.0
"""Seconds between two polls of the groups."""

_HEARTBEAT, _DESCRIBE_GROUPS, _LIST_GROUPS = 12, 15, 16
_REBALANCING = "Unknown"  # Tansu's state of a group with members and a leader that is not stable
_CONNECTIONS, _HEARTBEATS = 4, 50
_PATIENCE = 5.0  # seconds for an answer
_CORRELATION_ID = 7  # the same for all requests; responses arrive in order


class Connection:
    """A minimal client of version 0 of Kafka's protocol."""

    def __init__(self, port: int, timeout: float = _PATIENCE) -> None:
        """Connect. All methods raise ``OSError`` on failure; ``timeout`` is in seconds."""
        self._socket = socket.create_connection((HOST, port), timeout=timeout)
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def groups(self) -> list[str]:
        """Return the names of all consumer groups."""
        self.send(_LIST_GROUPS, b"")
        answer = _Reader(self.answer())
        answer.integer(2)  # error code
        return [(answer.text(), answer.text())[0] for _ in range(answer.integer(4))]

    def state(self, group: str) -> str:
        """Return the state of a group, such as ``Stable``."""
        self.send(_DESCRIBE_GROUPS, struct.pack(">i", 1) + text(group))
        answer = _Reader(self.answer())
        answer.integer(4)  # one group
        answer.integer(2)  # error code
        answer.text()
        return answer.text()

    def send(self, api: int, body: bytes) -> None:
        """Send a request without waiting for its response."""
        request = struct.pack(">hhi", api, 0, _CORRELATION_ID) + text("fleet") + body
        self._socket.sendall(struct.pack(">i", len(request)) + request)

    def answer(self) -> bytes:
        """Read the body of the next response."""
        answer = _Reader(self._read(_Reader(self._read(4)).integer(4)))
        if answer.integer(4) != _CORRELATION_ID:
            raise ConnectionError("the broker answered another request")
        return answer.rest

    def _read(self, count: int) -> bytes:
        data = self._answers.read(count)
        if len(data) < count:
            raise ConnectionError("the broker closed the connection")
        return data


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.rest = data

    def integer(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big", signed=True)

    def text(self) -> str:
        return self._take(max(0, self.integer(2))).decode()

    def _take(self, count: int) -> bytes:
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


def text(value: str) -> bytes:
    """Encode a string: length, then bytes."""
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def force_reload(port: int, group: str) -> None:
    """Send concurrent heartbeats of an unknown member, so that the broker reloads the group."""
    body = text(group) + struct.pack(">i", 0) + text("unknown-member")
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(port)) for _ in range(_CONNECTIONS)]
        for _ in range(_HEARTBEATS):
            for connection in connections:
                connection.send(_HEARTBEAT, body)
        for connection in connections:
            for _ in range(_HEARTBEATS):
                connection.answer()


def watch_groups(port: int, broker_pipe: int) -> None:
    """Reload groups that are in a rebalance at two polls in a row, until the broker exits."""
    before: set[str] = set()
    while not select.select([broker_pipe], [], [], LOOK)[0]:
        try:
            with Connection(port) as connection:
                rebalancing = {
                    name for name in connection.groups() if connection.state(name) == _REBALANCING
                }
            for group in rebalancing & before:
                force_reload(port, group)
            before = rebalancing
        except OSError:
            continue  # the broker is starting, paused or stopping


def main(port: int, argv: list[str]) -> None:
    """Fork the watcher, then replace this process by the broker, which keeps the pid."""
    broker_pipe, held_by_broker = os.pipe()
    if os.fork():
        os.set_inheritable(held_by_broker, True)
        os.execv(argv[0], argv)  # noqa: S606 - the launcher's own command
    os.close(held_by_broker)
    watch_groups(port, broker_pipe)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
