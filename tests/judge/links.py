"""TCP proxies between the parts, which delay data, cut connections and drop replies."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

HOST = "127.0.0.1"
_CHUNK = 65_536


@dataclass(slots=True, eq=False)
class _Connection:
    """A proxied connection; `asked` while a request has no reply yet."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    asked: bool = False

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@dataclass(slots=True)
class Link:
    """A proxy to one part. Without faults it forwards everything.

    Attributes:
        target: the port of the part.
        delay: seconds by which data is delayed in both directions.
        closed: refuse new connections and break existing ones.
        drops: number of replies still to drop, each with its connection.
        dropped: number of dropped replies.
    """

    name: str
    target: int
    seed: int
    delay: float = 0.0
    closed: bool = False
    drops: int = 0
    dropped: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[_Connection] = field(default_factory=set)
    _rng: random.Random = field(default_factory=random.Random)

    async def start(self, port: int = 0) -> None:
        """Listen on the port, or on a free one."""
        self._rng = random.Random(f"{self.seed} {self.name}")
        self._server = await asyncio.start_server(self._accept, HOST, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()

    def cut(self) -> None:
        """Reset every connection."""
        for connection in list(self._open):
            connection.abort()

    def restore(self) -> None:
        """Remove all faults."""
        self.delay, self.closed, self.drops = 0.0, False, 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection((writer, far_writer))
        if self.closed:
            connection.abort()
            return
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._requests(reader, far_writer, connection),
                self._replies(far_reader, writer, connection),
            )
        except OSError:
            pass  # one side closed the connection; the other side is closed below
        finally:
            self._open.discard(connection)
            connection.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        while data := await reader.read(_CHUNK):
            connection.asked = True
            await self._pass(data, writer)
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self._drop(connection):
                connection.abort()
                return
            connection.asked = False
            await self._pass(data, writer)
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _drop(self, connection: _Connection) -> bool:
        if self.drops <= 0 or not connection.asked or self._rng.random() < 0.5:
            return False
        self.drops -= 1
        self.dropped += 1
        return True

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        writer.write(data)
        await writer.drain()
