"""Links forward all data and inject faults."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.judge.links import HOST, Link


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A link to an echo server."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            asked.append(line)
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    link = Link("echo", server.sockets[0].getsockname()[1], seed=1)
    await link.start()
    yield link
    await link.stop()
    server.close()
    asked.clear()


asked: list[bytes] = []


async def ask(link: Link, line: bytes = b"hello\n") -> bytes:
    """Return the reply, or nothing if the connection was broken first."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(HOST, link.port)
        try:
            writer.write(line)
            return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def test_link_forwards_all_data(link: Link) -> None:
    large = b"x" * 60_000 + b"\n"
    reader, writer = await asyncio.open_connection(HOST, link.port, limit=100_000)
    writer.write(large)
    assert await reader.readline() == large
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()


async def test_closed_link_refuses_and_breaks_connections(link: Link) -> None:
    reader, writer = await asyncio.open_connection(HOST, link.port)
    link.closed = True
    link.cut()
    async with asyncio.timeout(10):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    assert await ask(link) == b""
    link.restore()
    assert await ask(link) == b"hello\n"


async def test_dropped_reply_belongs_to_processed_request(link: Link) -> None:
    link.drops = 1
    answers = []
    while not link.dropped:
        answers.append(await ask(link))
    assert answers.count(b"") == 1
    assert len(asked) == len(answers)  # the server received that request
    assert await ask(link) == b"hello\n"


async def test_slow_link_delays_both_directions(link: Link) -> None:
    link.delay = 0.1
    started = time.monotonic()
    await ask(link)
    assert time.monotonic() - started >= 0.2


async def test_unreachable_target_breaks_connection(link: Link) -> None:
    nowhere = Link("nowhere", 1, seed=1)
    await nowhere.start()
    assert await ask(nowhere) == b""
    await nowhere.stop()
