"""Becomes the broker whose command line it is given, with a child that keeps its groups moving.

Tansu 0.6.0 has a fault that no client can mend: the leader of a consumer group that leaves while
the group forms anew stays its leader. No other member can become it, so none of them, and none
that joins later, gets a partition again: nine seconds of a paused broker, or a restart of one of
two replicas at the wrong moment, are enough. Tansu forgets a leader who is gone where it reads a
group anew from its store, and that it does where two requests for the group meet. So the child
looks at the groups, and where one is forming it sends heartbeats of a member that does not exist,
over several connections at once. Each is refused, and changes nothing but that.
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
"""Seconds between two looks at the groups."""

_HEARTBEAT, _DESCRIBE_GROUPS, _LIST_GROUPS = 12, 15, 16
_FORMING = "Unknown"  # what Tansu calls a group that has members and a leader and is not stable
_CONNECTIONS, _HEARTBEATS = 4, 50
_PATIENCE = 5.0  # seconds for an answer
_NUMBER = 7  # of every request; answers come in the order of the requests


class Connection:
    """Speaks as much of Kafka's protocol, in its first version, as is needed here."""

    def __init__(self, port: int, timeout: float = _PATIENCE) -> None:
        """Connect; this and all else raises ``OSError`` where the broker does not do its part."""
        self._socket = socket.create_connection((HOST, port), timeout=timeout)
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def groups(self) -> list[str]:
        """The names of all consumer groups."""
        self.send(_LIST_GROUPS, b"")
        answer = _Reader(self.answer())
        answer.integer(2)  # error code
        return [(answer.text(), answer.text())[0] for _ in range(answer.integer(4))]

    def state(self, group: str) -> str:
        """The state of a group, in the broker's word for it."""
        self.send(_DESCRIBE_GROUPS, struct.pack(">i", 1) + text(group))
        answer = _Reader(self.answer())
        answer.integer(4)  # one group
        answer.integer(2)  # error code
        answer.text()
        return answer.text()

    def send(self, api: int, body: bytes) -> None:
        """Send a request without waiting for its answer."""
        request = struct.pack(">hhi", api, 0, _NUMBER) + text("fleet") + body
        self._socket.sendall(struct.pack(">i", len(request)) + request)

    def answer(self) -> bytes:
        """The next answer's body."""
        answer = _Reader(self._read(_Reader(self._read(4)).integer(4)))
        if answer.integer(4) != _NUMBER:
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
    """A string as the protocol has it: its length, then its bytes."""
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def stir(port: int, group: str) -> None:
    """Let requests for the group meet, by heartbeats that are all refused."""
    body = text(group) + struct.pack(">i", 0) + text("nobody")
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(port)) for _ in range(_CONNECTIONS)]
        for _ in range(_HEARTBEATS):
            for connection in connections:
                connection.send(_HEARTBEAT, body)
        for connection in connections:
            for _ in range(_HEARTBEATS):
                connection.answer()


def tend(port: int, broker_lives: int) -> None:
    """Stir what forms at two looks in a row, until the pipe of the living broker ends."""
    forming: set[str] = set()
    while not select.select([broker_lives], [], [], LOOK)[0]:
        try:
            with Connection(port) as connection:
                found = {name for name in connection.groups() if connection.state(name) == _FORMING}
            for group in found & forming:
                stir(port, group)
            forming = found
        except OSError:
            continue  # not there yet, paused or at its end


def main(port: int, argv: list[str]) -> None:
    """The broker takes this process over, so that its pid is the broker's; the child tends it."""
    broker_lives, held_by_the_broker = os.pipe()
    if os.fork():
        os.set_inheritable(held_by_the_broker, True)
        os.execv(argv[0], argv)  # noqa: S606 - the launcher's own command
    os.close(held_by_the_broker)
    tend(port, broker_lives)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
