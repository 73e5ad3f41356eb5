"""A real HTTP/1.1 server on a free port that handles requests with the test's script."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Seen:
    """One request as received."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: object = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} Scripted", f"content-length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass(frozen=True)
class Raw:
    """Send raw bytes, then close the connection."""

    content: bytes


class Drop:
    """Read the request, then close the connection without a response."""


class Hang:
    """Read the request and never respond."""


Action = Answer | Raw | Drop | Hang
Script = Callable[[Seen], Action]


class ScriptedPeer:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Seen] = []
        self.url = ""
        self._arrival = asyncio.Event()
        self._released = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client closed the connection, or the test has ended
        finally:
            writer.close()

    async def arrived(self, requests: int) -> None:
        """Wait at most five seconds until this number of requests has arrived."""
        async with asyncio.timeout(5):
            while len(self.requests) < requests:
                self._arrival.clear()
                await self._arrival.wait()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        seen = Seen(method, target, headers, body, asyncio.get_running_loop().time())
        self.requests.append(seen)
        self._arrival.set()
        action = self.script(seen)
        if isinstance(action, Hang):
            await self._released.wait()
            return False
        if isinstance(action, Answer | Raw):
            writer.write(action.encode() if isinstance(action, Answer) else action.content)
            await writer.drain()
        return isinstance(action, Answer)

    async def close(self) -> None:
        self._released.set()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@asynccontextmanager
async def scripted_peer(script: Script, port: int = 0) -> AsyncIterator[ScriptedPeer]:
    """Serve `script` on 127.0.0.1 during the block."""
    peer = ScriptedPeer(script)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", port, backlog=1024)
    peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peer
    finally:
        server.close()
        await peer.close()


def in_turn(*actions: Action) -> Script:
    """Return a script that takes each action once, then repeats the last."""
    left = list(actions)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
