"""Connections of clients: request heads, slow clients, disconnects."""

import asyncio
import time

import pytest

from tests.conftest import MakeGateway
from tests.fakes import FakeProvider, FakeUpstream, Seen, Wire
from tests.gateways import Gateway, replies, until

HEAD = b"GET /api/products HTTP/1.1\r\nHost: g\r\n"


@pytest.fixture
def impatient(gateway_of: MakeGateway) -> Gateway:
    return gateway_of(client_head_seconds=0.3, client_body_seconds=0.4, client_stall_seconds=0.5)


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X: " + b"a" * 33_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(4000)) + b"\r\n",
        HEAD + b"X: " + b"a" * 5_000_000 + b"\r\n\r\n",
        HEAD + b"a" * 200_000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /api/orders HTTP/1.1\r\nContent-Length: 90000\r\nX: "
        + b"a" * 33_000
        + b"\r\n\r\n"
        + b"b" * 90_000,
    ],
    ids=["one line", "many lines", "huge", "no end", "target", "with a body"],
)
async def test_oversized_request_head_returns_431(
    gateway: Gateway, upstream: FakeUpstream, head: bytes
) -> None:
    [answer] = replies(await gateway.raw(head))
    assert answer.status == 431
    answer.problem()
    assert upstream.requests == []


async def test_head_of_many_lines_within_the_limit_is_accepted(gateway: Gateway) -> None:
    lines = [(f"X-{n}", "y") for n in range(2000)]
    assert (await gateway.ask("/api/products", headers=lines)).status == 200


@pytest.mark.parametrize(
    "endless", [b"X: " + b"a" * 4_000, b"X: y\r\n" * 700, b"0;" + b"e" * 4_000]
)
async def test_oversized_trailers_and_chunk_extensions_return_431(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider, endless: bytes
) -> None:
    """Without a limit they would fill the parser's memory until the body timeout."""
    reader, writer = await gateway.connect()
    writer.write(b"POST /api/orders HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n")
    writer.write(b"Authorization: Bearer %b\r\n\r\n" % provider.token().encode())
    writer.write(b"2\r\n{}\r\n" if endless.startswith(b"0;") else b"2\r\n{}\r\n0\r\n")
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    for _ in range(1000):
        writer.write(endless)
        await writer.drain()
        if answer.done():
            break
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert b" 431 " in await answer
    assert upstream.complete == 0


async def test_slow_head_returns_408_and_closes_the_connection(impatient: Gateway) -> None:
    reader, writer = await impatient.connect()
    began = time.monotonic()

    async def drip() -> None:
        for byte in HEAD:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    [answer] = replies(await reader.read())
    dripping.cancel()
    assert 0.2 < time.monotonic() - began < 1.5
    assert answer.status == 408
    answer.problem()
    writer.close()


async def test_slow_second_head_returns_408(impatient: Gateway) -> None:
    reader, writer = await impatient.connect()
    writer.write(HEAD + b"\r\n")
    await reader.readuntil(b"{}")
    writer.write(HEAD)
    async with asyncio.timeout(1.5):
        [answer] = replies(await reader.read())
    assert answer.status == 408


async def test_silent_connection_is_closed(impatient: Gateway) -> None:
    began = time.monotonic()
    assert await impatient.raw(b"") == b""
    assert time.monotonic() - began < 1.5


async def test_connection_is_reusable_after_an_early_response(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    """401 to an upload: the client can still read it and reuse the connection."""
    reader, writer = await gateway.connect()
    writer.write(b"POST /api/orders HTTP/1.1\r\nHost: g\r\nContent-Length: 900000\r\n\r\n")
    assert b" 401 " in await reader.readline()
    await reader.readuntil(b"}")
    for _ in range(9):
        writer.write(b"a" * 100_000)
        await writer.drain()
    writer.write(HEAD + b"\r\n")
    assert b" 200 " in await reader.readline()
    assert [seen.size for seen in upstream.requests] == [0]


async def test_slow_rest_of_a_body_after_an_early_response_is_cut_off(
    gateway: Gateway, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.protocol._DRAIN_SECONDS", 0.3)
    reader, writer = await gateway.connect()
    writer.write(b"POST /api/orders HTTP/1.1\r\nHost: g\r\nContent-Length: 900000\r\n\r\n")
    async with asyncio.timeout(1.5):
        while not reader.at_eof():
            writer.write(b"a")
            await reader.read(4096)
    assert upstream.requests == []


async def test_client_that_does_not_read_its_response_is_disconnected(
    impatient: Gateway, upstream: FakeUpstream
) -> None:
    """The gateway stops reading from the service and releases its slot."""
    sent = 0

    async def endless(seen: Seen, wire: Wire) -> None:
        nonlocal sent
        await wire.begin_chunks()
        while True:
            await wire.chunk(b"a" * 65_536)
            sent += 65_536

    upstream.script = endless
    _, writer = await impatient.connect()
    writer.write(HEAD + b"\r\n")
    await until(lambda: sent > 0)
    assert await impatient.metric("upstream_calls_in_hand") == 1
    began = time.monotonic()
    await until(lambda: upstream.busy == 0)
    assert time.monotonic() - began < 2
    assert sent < 20_000_000  # the size of the sockets' buffers
    assert await impatient.metric("upstream_calls_in_hand") == 0
    writer.close()


@pytest.mark.parametrize("begun", [False, True])
async def test_client_disconnect_ends_the_upstream_call(
    gateway: Gateway, upstream: FakeUpstream, begun: bool
) -> None:
    async def script(seen: Seen, wire: Wire) -> None:
        if begun:
            await wire.begin_chunks()
            await wire.chunk(b"data: 1\n\n")
        await wire.until_gone()

    upstream.script = script
    reader, writer = await gateway.connect()
    writer.write(HEAD + b"\r\n")
    if begun:
        await reader.readuntil(b"data: 1\n\n")
    await until(lambda: upstream.complete == 1)
    writer.close()
    left = time.monotonic()
    await until(lambda: upstream.busy == 0)
    assert time.monotonic() - left < 0.5
    assert await gateway.metric("upstream_calls_in_hand") == 0
