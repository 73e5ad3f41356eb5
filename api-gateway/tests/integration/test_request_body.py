"""Promise 52: request bodies are limited in size, duration and memory."""

import asyncio
import hashlib
import random
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from app.__main__ import bind, server_config
from fleet.processes.ports import free_port
from tests.conftest import MakeGateway, MakeSettings
from tests.fakes import FakeProvider, FakeUpstream, Seen, Wire, hang
from tests.gateways import Gateway, gateway_process, replies, until

LIMIT = 262_144  # of an order


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[n : n + size] for n in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 200_000, LIMIT])
@pytest.mark.parametrize("in_chunks", [False, True])
async def test_body_of_any_size_up_to_the_limit_arrives_unchanged(
    gateway: Gateway,
    upstream: FakeUpstream,
    provider: FakeProvider,
    size: int,
    in_chunks: bool,
) -> None:
    body = random.Random(size).randbytes(size)
    headers = {"Content-Type": "application/octet-stream", "Idempotency-Key": "k"}
    raw = body
    if in_chunks:
        headers["Transfer-Encoding"] = "chunked"
        raw = chunked(body, 10_000)
    answer = await gateway.ask(
        "/api/orders", method="POST", headers=headers, body=raw, token=provider.token()
    )
    assert answer.status == 200
    [seen] = upstream.requests
    assert (seen.size, seen.digest.digest()) == (size, hashlib.sha256(body).digest())
    assert seen.header("content-type") == "application/octet-stream"
    if not in_chunks:
        assert seen.header("content-length") == str(size)
        assert seen.header("transfer-encoding") is None


@pytest.mark.parametrize("lie", ["announced", "in chunks", "announced, never sent"])
async def test_promise_52_body_over_the_limit_is_413_and_not_forwarded(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider, lie: str
) -> None:
    body = b"a" * (LIMIT + 1)
    headers = {}
    if lie == "in chunks":
        headers["Transfer-Encoding"] = "chunked"
        body = chunked(body, 50_000)
    if lie == "announced, never sent":
        headers["Content-Length"] = str(LIMIT + 1)
        body = b""
    answer = await gateway.ask(
        "/api/orders", method="POST", headers=headers, body=body, token=provider.token()
    )
    assert answer.status == 413
    answer.problem()
    assert upstream.complete == 0
    assert await gateway.metric("upstream_calls_in_hand") == 0


async def test_bytes_after_content_length_are_the_next_request(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    answers = replies(
        await gateway.raw(
            b"POST /api/orders HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nAuthorization: Bearer "
            + provider.token().encode()
            + b"\r\n\r\n{}{}{}{}"
        )
    )
    assert [answer.status for answer in answers] in ([200, 400], [])
    assert [seen.body for seen in upstream.requests] in ([b"{}"], [])


async def test_get_with_a_body_is_forwarded(gateway: Gateway, upstream: FakeUpstream) -> None:
    assert (await gateway.ask("/api/products", body=b"{}")).status == 200
    assert upstream.requests[0].body == b"{}"


async def test_request_without_a_body_is_forwarded_without_one(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    token = provider.token()
    assert (await gateway.ask("/api/orders/1/cancel", method="PATCH", token=token)).status == 200
    assert upstream.requests[0].header("transfer-encoding") is None


async def drip(gateway: Gateway, token: str, first: bytes = b"") -> tuple[bytes, float]:
    """Upload one byte every 0.1 s; return the response and the seconds until it arrived."""
    reader, writer = await gateway.connect()
    writer.write(
        b"POST /api/orders HTTP/1.1\r\nHost: g\r\nContent-Length: 250000\r\n"
        b"Authorization: Bearer " + token.encode() + b"\r\n\r\n" + first
    )
    began = time.monotonic()

    async def send() -> None:
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.1)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"}")
    finally:
        sending.cancel()
        writer.close()
    assert b"application/problem+json" in answer
    return answer, time.monotonic() - began


@pytest.fixture(scope="module")
def _process(settings_of: MakeSettings) -> Iterator[tuple[Gateway, psutil.Process]]:
    settings = settings_of(client_body_seconds=2.0, max_body_bytes=100_000_000)
    environment = {
        name.upper(): " ".join(value) if isinstance(value, tuple) else str(value)
        for name, value in settings.model_dump(exclude={"oidc_allowed_clients"}).items()
    }
    with gateway_process(free_port(), **environment) as (gateway, pid):
        yield gateway, psutil.Process(pid)


@pytest.fixture
def in_a_process(
    _process: tuple[Gateway, psutil.Process], upstream: FakeUpstream
) -> tuple[Gateway, psutil.Process]:
    """Return a gateway in a process of its own, to measure memory; its body timeout is short."""
    return _process


def megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1_000_000


async def test_promise_52_hundred_slow_uploads_take_no_memory_slot_or_circuit(
    in_a_process: tuple[Gateway, psutil.Process], upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """Half of them send the first 64 KiB at once and are streamed. All connections are closed."""
    gateway, process = in_a_process
    token = provider.token()
    for _ in range(20):
        await gateway.ask("/api/products", token=token)
    before = megabytes(process)
    uploads = [
        asyncio.create_task(drip(gateway, token, b"a" * (70_000 if n % 2 else 1)))
        for n in range(100)
    ]
    took = []
    peak = before
    while not all(upload.done() for upload in uploads):
        began = time.monotonic()
        assert (await gateway.ask("/api/products")).status == 200
        took.append(time.monotonic() - began)
        peak = max(peak, megabytes(process))
        await asyncio.sleep(0.02)
    results = [upload.result() for upload in uploads]
    assert {answer.split(b"\r\n")[0] for answer, _ in results} == {b"HTTP/1.1 408 Request Timeout"}
    assert max(seconds for _, seconds in results) < 4
    assert sorted(took)[len(took) // 2] < 0.1
    assert peak - before < 10
    assert await gateway.metric("circuit_state") == 0
    assert await gateway.metric("upstream_calls_in_hand") == 0
    assert upstream.complete == 20 + len(took)


@pytest.mark.parametrize("first", [b"a", b"a" * 70_000])
async def test_slow_or_aborted_uploads_do_not_count_as_service_failures(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider, first: bytes
) -> None:
    """Even if the upload is slower than the service's timeout, which starts after the request."""
    gateway = gateway_of(circuit_failures=2, client_body_seconds=0.6, upstream_timeout=0.3)
    token = provider.token()
    answers = await asyncio.gather(*(drip(gateway, token, first) for _ in range(6)))
    assert {answer.split(b" ")[1] for answer, _ in answers} == {b"408"}
    for _ in range(6):
        _, writer = await gateway.connect()
        writer.write(
            b"POST /api/orders HTTP/1.1\r\nHost: g\r\nContent-Length: 250000\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n" + first
        )
        await writer.drain()
        await asyncio.sleep(0.02)  # a part of the body has been forwarded
        writer.close()
    await until(lambda: upstream.busy == 0)
    assert await gateway.metric("circuit_state") == 0
    assert await gateway.metric("upstream_calls_in_hand") == 0
    assert (await gateway.ask("/api/orders", method="POST", body=b"{}", token=token)).status == 200


async def test_upload_time_does_not_count_against_the_service_timeout(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    gateway = gateway_of(upstream_timeout=0.3)
    reader, writer = await gateway.connect()
    writer.write(
        b"POST /api/orders HTTP/1.1\r\nHost: g\r\nContent-Length: 70010\r\n"
        b"Authorization: Bearer " + provider.token().encode() + b"\r\n\r\n" + b"a" * 70_000
    )
    for _ in range(10):
        await asyncio.sleep(0.1)
        writer.write(b"b")
    assert b" 200 " in await reader.readline()
    assert upstream.requests[0].size == 70_010


async def test_service_that_does_not_read_the_body_times_out(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """Its circuit opens: the service, not the client, stopped the transfer."""
    gateway = gateway_of(upstream_timeout=0.3, circuit_failures=2, max_body_bytes=50_000_000)
    upstream.reads_bodies = False

    over: list[bool] = []

    async def stalled(seen: Seen, wire: Wire) -> None:
        while not over:
            await asyncio.sleep(0.01)
        await wire.until_gone()

    upstream.script = stalled
    head = b"POST /api/orders HTTP/1.1\r\nHost: g\r\nContent-Length: 40000000\r\n"
    for expected in (b" 504 ", b" 504 ", b" 503 "):
        reader, writer = await gateway.connect()
        writer.write(head + b"Authorization: Bearer " + provider.token().encode() + b"\r\n\r\n")
        writer.write(b"a" * 40_000_000)
        assert expected in await reader.readline()
        writer.transport.abort()
    over.append(True)
    await until(lambda: upstream.busy == 0)


async def test_slow_uploads_hold_no_upstream_slot(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    gateway = gateway_of(upstream_concurrency=1, client_body_seconds=1)
    token = provider.token()
    uploads = [asyncio.create_task(drip(gateway, token)) for _ in range(5)]
    await asyncio.sleep(0.1)
    answer = await gateway.ask("/api/orders", method="POST", body=b"{}", token=token)
    assert answer.status == 200
    await asyncio.gather(*uploads)


def test_promise_63_connection_receives_at_most_64_kib_at_a_time(
    settings_of: MakeSettings,
) -> None:
    """Linux reports the doubled value; accepted connections inherit it from the listener."""
    with bind(server_config(settings_of(), "127.0.0.1", 0)) as listener:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 65_536


async def test_large_bodies_stream_both_ways_in_constant_memory(
    in_a_process: tuple[Gateway, psutil.Process], upstream: FakeUpstream, provider: FakeProvider
) -> None:
    gateway, process = in_a_process
    block = random.Random(1).randbytes(1_000_000)
    size = 30 * len(block)
    digest = hashlib.sha256()
    for _ in range(30):
        digest.update(block)

    async def script(seen: Seen, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(30):
            await wire.send(block)

    upstream.script = script
    await gateway.ask("/health")
    before = peak = megabytes(process)
    reader, writer = await gateway.connect()
    writer.write(
        b"POST /api/orders HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: %d\r\n"
        b"Authorization: Bearer %b\r\n\r\n" % (size, provider.token().encode())
    )
    for _ in range(30):
        writer.write(block)
        await writer.drain()
        peak = max(peak, megabytes(process))
    await reader.readuntil(b"\r\n\r\n")
    received = hashlib.sha256()
    while part := await reader.read(65_536):
        received.update(part)
        if random.random() < 0.02:
            peak = max(peak, megabytes(process))
            await asyncio.sleep(0.001)  # slower than the service sends
    writer.close()
    assert upstream.requests[0].digest.digest() == digest.digest() == received.digest()
    assert peak - before < 10


async def test_events_arrive_one_by_one(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """The service sends the next event only after the client received the previous one."""
    released: list[int] = []

    async def script(seen: Seen, wire: Wire) -> None:
        await wire.begin_chunks()
        for n in range(5):
            await wire.chunk(b"data: %d\n\n" % n)
            while len(released) <= n:
                await asyncio.sleep(0.001)
        await wire.chunk(b"")

    upstream.script = script
    reader, writer = await gateway.connect()
    writer.write(
        b"POST /api/ai/chat HTTP/1.1\r\nHost: g\r\nAccept: text/event-stream\r\nContent-Length: 2"
        b"\r\nAuthorization: Bearer " + provider.token().encode() + b"\r\n\r\n{}"
    )
    async with asyncio.timeout(5):
        for n in range(5):
            await reader.readuntil(b"data: %d\n\n" % n)
            released.append(n)
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    assert upstream.requests[0].header("accept") == "text/event-stream"


async def test_expect_100_continue_is_answered_before_the_body(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    reader, writer = await gateway.connect()
    writer.write(
        b"POST /api/orders HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
        b"Authorization: Bearer " + provider.token().encode() + b"\r\n\r\n"
    )
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert b" 200 " in await reader.readline()
    writer.close()
    assert upstream.requests[0].header("expect") is None


async def test_early_response_to_a_body_does_not_hang(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    gateway = gateway_of(upstream_timeout=0.3)
    upstream.script = hang
    answer = await gateway.ask(
        "/api/orders", method="POST", body=b"a" * 200_000, token=provider.token()
    )
    assert answer.status == 504
