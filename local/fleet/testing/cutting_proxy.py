"""A TCP proxy for tests that breaks each connection at a random point."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType
from typing import Self

from fleet.processes.program import HOST

_CHUNK = 65_536


class CuttingProxy:
    """Passes bytes to a server and aborts each connection after a random number of reply bytes.

    Use as ``async with CuttingProxy(port, seed) as proxy``; clients connect to ``proxy.port``.
    """

    def __init__(self, target: int, seed: int, longest: int = 20_000) -> None:
        """``longest`` is the most reply bytes of one connection; ``target`` is a local port."""
        self.port = 0
        self.cuts = 0
        self.cutting = True
        """Set it to False to pass everything on."""
        self._target = target
        self._longest = longest
        self._random = random.Random(seed)  # noqa: S311  a test repeats it
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None  # noqa: S101  entered before
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        # Short lives are more frequent, so that some end in the handshake.
        left = round(self._longest ** self._random.random()) if self.cutting else None
        directions = [
            asyncio.create_task(_pass(reader, server_writer, None)),
            asyncio.create_task(_pass(server_reader, writer, left)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            self.cuts += left is not None
        finally:
            for direction in directions:
                direction.cancel()
            writer.transport.abort()
            server_writer.transport.abort()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
) -> None:
    """Pass on what is read, ``left`` bytes at most; with None until the end."""
    try:
        while left is None or left > 0:
            data = await reader.read(_CHUNK if left is None else min(left, _CHUNK))
            if not data:
                return
            writer.write(data)
            await writer.drain()
            if left is not None:
                left -= len(data)
    except OSError:
        return
