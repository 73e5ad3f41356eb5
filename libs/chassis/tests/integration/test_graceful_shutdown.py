"""Graceful shutdown on real sockets: every request that a client has sent gets a response."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from chassis.app.graceful_shutdown import DrainingProtocol

REQUEST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


class App:
    """Send 200 in two parts; `go_on` releases the first part of `/slow`, the second of `/half`."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.begun.set()
        if scope["path"] == "/slow":
            await self.go_on.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/half":
            await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"ok"})


class Stream:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        async with asyncio.timeout(5):
            return (await self.reader.readuntil(b"\r\n\r\n")).lower()

    async def ask(self, request: bytes = REQUEST + b"{}") -> bytes:
        """Send a request; return the head of the response."""
        self.writer.write(request)
        head = await self.head()
        await self.reader.readexactly(2)
        return head

    async def is_closed(self) -> bool:
        async with asyncio.timeout(5):
            return await self.reader.read() == b""


class Served:
    """The app behind uvicorn."""

    def __init__(self, server: uvicorn.Server, app: App) -> None:
        self.server = server
        self.app = app
        self.streams: list[Stream] = []

    async def connect(self) -> Stream:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        stream = Stream(*await asyncio.open_connection("127.0.0.1", port))
        self.streams.append(stream)
        return stream

    async def stop(self) -> None:
        """Request the shutdown; return when the server no longer listens."""
        listener = self.server.servers[0]
        self.server.should_exit = True
        async with asyncio.timeout(5):
            while listener.is_serving():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serve(keep_alive: int = 5) -> AsyncIterator[Served]:
    app = App()
    config = uvicorn.Config(
        app,
        port=0,
        http=DrainingProtocol,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=8,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    served = Served(server, app)
    try:
        yield served
    finally:
        server.should_exit = True
        for stream in served.streams:
            stream.writer.close()
        async with asyncio.timeout(5):
            await task


async def test_request_on_an_idle_connection_gets_a_response_that_closes_it() -> None:
    """The client may have sent it before it noticed the shutdown."""
    async with serve() as served:
        stream = await served.connect()
        assert b"connection: close" not in await stream.ask()
        await served.stop()
        head = await stream.ask()
        assert head.startswith(b"http/1.1 200")
        assert b"connection: close" in head
        assert await stream.is_closed()


async def test_first_request_of_a_new_connection_gets_a_response() -> None:
    async with serve() as served:
        stream = await served.connect()
        await (await served.connect()).ask()  # thus the server has accepted the first one
        await served.stop()
        assert b"connection: close" in await stream.ask()


async def test_response_in_progress_closes_its_connection() -> None:
    async with serve() as served:
        stream = await served.connect()
        answer = asyncio.create_task(stream.ask(REQUEST.replace(b"/a", b"/slow") + b"{}"))
        await served.app.begun.wait()
        await served.stop()
        served.app.go_on.set()
        assert b"connection: close" in await answer
        assert await stream.is_closed()


async def test_connection_with_a_started_response_serves_one_more_request() -> None:
    async with serve() as served:
        stream = await served.connect()
        stream.writer.write(REQUEST.replace(b"/a", b"/half") + b"{}")
        assert b"connection: close" not in await stream.head()
        await served.stop()
        served.app.go_on.set()
        assert await stream.reader.readexactly(2) == b"ok"
        assert b"connection: close" in await stream.ask()


async def test_partly_received_request_gets_a_response() -> None:
    async with serve() as served:
        stream = await served.connect()
        await stream.ask()
        stream.writer.write(REQUEST[:20])
        await (await served.connect()).ask()  # thus the server has read the part
        await served.stop()
        assert b"connection: close" in await stream.ask(REQUEST[20:] + b"{}")


@pytest.mark.parametrize("used", [True, False])
async def test_idle_connection_is_closed_in_time(used: bool) -> None:
    async with serve(keep_alive=1) as served:
        stream = await served.connect()
        if used:
            await stream.ask()
        await (await served.connect()).ask()
        await served.stop()
        assert await stream.is_closed()


async def test_server_without_connections_stops_at_once() -> None:
    async with serve() as served:
        await (stream := await served.connect()).ask()
        stream.writer.close()
        await stream.writer.wait_closed()
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 1
