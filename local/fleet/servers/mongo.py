"""A MongoDB-compatible server: SecantusDB, which speaks the wire protocol over real WiredTiger."""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
import sys
from pathlib import Path

from fleet.errors import FleetError, NotReady
from fleet.processes.program import HOST, Command, Port, Program

_OP_MSG = 2013


class MongoServer(Program):
    """One server with its files in the state folder. It syncs every acknowledged write."""

    def __init__(self, state: Path, port: Port) -> None:
        """``state`` is the fleet's state folder."""
        super().__init__("mongo", [port])
        self._root = state / "mongo"

    def url(self, way: int | None = None) -> str:
        """Return the URL for clients; ``way`` replaces the port.

        Connects directly, because the server does not announce the name of its replica set.
        """
        return f"mongodb://{HOST}:{way or self.port}/?directConnection=true"

    def prepare(self, log: Path) -> None:
        """Create the folder and an empty configuration, which replaces the user's own file."""
        if importlib.util.find_spec("secantus") is None:
            raise FleetError("The embedded MongoDB is not installed: pip install 'fleet[mongo]'")
        self._root.mkdir(parents=True, exist_ok=True)
        (self._root / "secantusd.toml").touch()

    def command(self) -> Command:
        """Run the server in a separate Python process. It is GPL and never imported."""
        options = {
            "--config": str(self._root / "secantusd.toml"),
            "--host": HOST,
            "--port": str(self.port),
            "--storage-path": str(self._root / "data"),
            "--cache-size": "128M",
            "--log-level": "WARNING",
        }
        argv = [sys.executable, "-c", "from secantus.cli import main; raise SystemExit(main())"]
        # Without --sync-on-commit a kill -9 loses acknowledged writes.
        argv += [part for item in options.items() for part in item] + ["--sync-on-commit"]
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        return Command(argv, env, self._root)

    def check(self) -> None:
        """Send ``{ping: 1}`` as OP_MSG and require ``ok``."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                connection.sendall(_ping())
                (length,) = struct.unpack("<i", _read(connection, 4))
                reply = _read(connection, length - 4)
        except OSError as error:
            raise NotReady(f"{type(error).__name__}: {error}") from error
        if b"\x01ok\x00" + struct.pack("<d", 1.0) not in reply:
            raise NotReady("ping was not answered with ok")


def _ping() -> bytes:
    """Encode the ping: header, flags, one section with a BSON document."""
    database = b"admin\x00"
    elements = b"\x10ping\x00" + struct.pack("<i", 1)
    elements += b"\x02$db\x00" + struct.pack("<i", len(database)) + database
    document = struct.pack("<i", len(elements) + 5) + elements + b"\x00"
    body = struct.pack("<I", 0) + b"\x00" + document
    return struct.pack("<iiii", 16 + len(body), 1, 0, _OP_MSG) + body


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionResetError("connection closed in the middle of an answer")
        received += chunk
    return received
