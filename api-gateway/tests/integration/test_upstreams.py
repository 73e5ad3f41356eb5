"""Promises 34 to 37 at the gateway: unavailable, slow and faulty services."""

import asyncio
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator

import aiohttp
import pytest

from fleet.processes.ports import free_port
from tests.conftest import MakeGateway
from tests.fakes import (
    FakeProvider,
    FakeUpstream,
    Script,
    Seen,
    Wire,
    answering,
    drop,
    hang,
    in_turn,
    plain,
)
from tests.gateways import Gateway, Reply, until

NEVER_OPENS = 1_000_000


@pytest.fixture
def second() -> Iterator[FakeUpstream]:
    """Return a second replica of a service."""
    with FakeUpstream().serve() as fake:
        yield fake


def nobody() -> str:
    """Return an address without a listener."""
    return f"http://127.0.0.1:{free_port()}"


def sending(raw: bytes) -> Script:
    """Return a script that sends raw bytes, then closes the connection."""

    async def script(seen: Seen, wire: Wire) -> None:
        await wire.send(raw)
        wire.drop()

    return script


async def order(gateway: Gateway, provider: FakeProvider) -> Reply:
    return await gateway.ask("/api/orders", method="POST", body=b"{}", token=provider.token())


async def test_unavailable_service_is_503_with_retry_after(gateway_of: MakeGateway) -> None:
    gateway = gateway_of(product_service_url=(nobody(),))
    answer = await gateway.ask("/api/products")
    assert (answer.status, answer.problem()["type"]) == (503, "/problems/upstream-away")
    assert int(str(answer.header("retry-after"))) >= 1


async def test_hanging_service_is_504_in_time(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    gateway = gateway_of(upstream_timeout=0.3)
    upstream.script = hang
    token = provider.token()
    took = []
    for _ in range(2):
        for method, path in [("GET", "/api/products"), ("POST", "/api/orders")]:
            began = time.monotonic()
            answer = await gateway.ask(path, method=method, token=token)
            took.append(time.monotonic() - began)
            assert answer.status == 504
    assert "not known" in answer.problem()["detail"]
    assert len(upstream.requests) == 4
    assert 0.3 <= min(took) < 0.4
    assert max(took) < 0.8  # the machine may be busy
    await until(lambda: upstream.busy == 0)


async def test_service_that_stalls_mid_response_is_cut_off_in_time(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    async def script(seen: Seen, wire: Wire) -> None:
        await wire.begin_chunks()
        await wire.chunk(b"half")
        await wire.until_gone()

    upstream.script = script
    gateway = gateway_of(upstream_timeout=0.3)
    began = time.monotonic()
    raw = await gateway.raw(b"GET /api/products HTTP/1.1\r\nHost: g\r\n\r\n")
    assert time.monotonic() - began < 1
    assert raw.endswith(b"\r\n\r\n4\r\nhalf\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 99 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"",
    ],
)
async def test_invalid_response_is_502(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider, raw: bytes
) -> None:
    upstream.script = sending(raw)
    answer = await order(gateway, provider)
    assert answer.status == 502
    assert "not known" in answer.problem()["detail"]
    assert len(upstream.requests) == 1
    assert await gateway.metric("upstream_calls_in_hand") == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ],
)
async def test_truncated_response_is_recognisable_as_truncated(
    gateway: Gateway, upstream: FakeUpstream, raw: bytes
) -> None:
    upstream.script = sending(raw)
    async with aiohttp.ClientSession() as session:
        get = session.get(f"{gateway.url}/api/products", raise_for_status=True)
        with pytest.raises(aiohttp.ClientError):
            await (await get).read()
    assert await gateway.metric("upstream_calls_in_hand") == 0


async def test_interim_responses_are_skipped(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.script = sending(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    )
    answer = await gateway.ask("/api/products")
    assert (answer.status, answer.body, answer.header("link")) == (200, b"{}", None)


async def test_response_delimited_by_connection_close_is_forwarded(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script = sending(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello")
    assert (await gateway.ask("/api/products")).body == b"hello"


@pytest.mark.parametrize("status", [200, 201, 204, 304, 400, 404, 409, 422, 429, 500, 503])
async def test_response_of_any_status_is_forwarded_unchanged(
    gateway: Gateway, upstream: FakeUpstream, status: int
) -> None:
    body = b"" if status in (204, 304) else b'{"a": 1}'
    upstream.script = answering(
        status, body, [(b"Content-Type", b"application/problem+json"), (b"Retry-After", b"7")]
    )
    answer = await gateway.ask("/api/products")
    assert (answer.status, answer.body, answer.header("retry-after")) == (status, body, "7")
    assert len(upstream.requests) == 1


async def test_promise_34_circuit_opens_probes_once_and_closes(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    gateway = gateway_of(circuit_failures=3, circuit_reset_seconds=1.0, upstream_timeout=5)
    upstream.script = drop
    assert [(await order(gateway, provider)).status for _ in range(5)] == [502] * 3 + [503] * 2
    assert len(upstream.requests) == 3
    async with gateway.client() as client:
        took = []
        for _ in range(50):
            began = time.perf_counter()
            refused = await client.get("/api/orders/1", headers=_bearer(provider))
            took.append(time.perf_counter() - began)
            assert refused.status_code == 503
    assert sorted(took)[25] < 0.005
    assert refused.headers["retry-after"] == "1"

    async def slow(seen: Seen, wire: Wire) -> None:
        await asyncio.sleep(0.2)
        await wire.answer()

    upstream.reset()
    assert (await gateway.ask("/api/products")).status == 200  # the circuit of a different service
    upstream.reset()
    upstream.script = slow
    await asyncio.sleep(1.0)  # circuit_reset_seconds
    answers = await asyncio.gather(*(order(gateway, provider) for _ in range(30)))
    assert Counter(answer.status for answer in answers) == {200: 1, 503: 29}
    assert len(upstream.requests) == 1
    assert (await order(gateway, provider)).status == 200


async def test_service_is_reached_within_a_second_of_its_restart(
    gateway_of: MakeGateway,
) -> None:
    """The circuit opens while the service is stopped; its usual reset time is 5 seconds."""
    url = nobody()
    gateway = gateway_of(product_service_url=(url,))
    while await gateway.metric("circuit_state", target="product-service") != 2:
        assert (await gateway.ask("/api/products")).status == 503
    with FakeUpstream().serve(int(url.rpartition(":")[2])):
        async with asyncio.timeout(1.0):
            while (await gateway.ask("/api/products")).status != 200:
                await asyncio.sleep(0.02)


def _bearer(provider: FakeProvider) -> dict[str, str]:
    return {"Authorization": f"Bearer {provider.token()}"}


async def test_promise_34_hanging_service_opens_its_circuit(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    gateway = gateway_of(circuit_failures=3, upstream_timeout=0.1)
    upstream.script = hang
    answers = [(await gateway.ask("/api/products")).status for _ in range(5)]
    assert answers == [504, 504, 504, 503, 503]


async def test_promise_35_responses_and_cancellations_never_open_a_circuit(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    gateway = gateway_of(circuit_failures=2)
    for status in (400, 404, 409, 429, 500, 503):
        upstream.script = answering(status)
        for _ in range(5):
            assert (await gateway.ask("/api/products")).status == status
    upstream.script = hang
    for n in range(20):
        _, writer = await gateway.connect()
        writer.write(b"GET /api/products HTTP/1.1\r\nHost: g\r\n\r\n")
        await until(lambda n=n: upstream.complete == 31 + n)  # type: ignore[misc]
        writer.transport.abort()
    await until(lambda: upstream.busy == 0)
    assert await gateway.metric("circuit_state") == 0
    upstream.script = plain
    assert (await gateway.ask("/api/products")).status == 200


async def test_get_is_retried_after_a_dropped_keep_alive_connection(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script = in_turn(plain, drop, plain)
    assert [(await gateway.ask("/api/products")).status for _ in range(2)] == [200, 200]
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("method", "path", "large"),
    [
        ("POST", "/api/orders", 100_000),
        ("PATCH", "/api/orders/1/cancel", 16_384),
        ("PUT", "/api/products/1", 100_000),
        ("DELETE", "/api/products/1", 16_384),
    ],
)
async def test_promise_33_unsafe_request_that_may_have_run_is_sent_once(
    gateway: Gateway,
    upstream: FakeUpstream,
    provider: FakeProvider,
    method: str,
    path: str,
    large: int,
) -> None:
    """On new and on reused connections, with small and large bodies; 100,000 bytes are streamed."""
    token = provider.token("admin", "admin")
    for body, is_kept in [(b"{}", False), (b"{}", True), (b"a" * large, True)]:
        upstream.reset()
        if is_kept:
            await gateway.ask(path, method=method, body=b"{}", token=token)
        upstream.script = drop
        answer = await gateway.ask(path, method=method, body=body, token=token)
        assert answer.status == 502
        assert len(upstream.requests) == 1 + is_kept


async def test_post_uses_the_next_address_after_a_refused_connection(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """Concurrent requests too, and without using the retry budget: no request was sent.

    The circuit of the refusing address stays closed: the replica may be restarting.
    """
    gateway = gateway_of(order_service_url=(nobody(), upstream.url), circuit_failures=3)
    answers = await asyncio.gather(*(order(gateway, provider) for _ in range(40)))
    assert [answer.status for answer in answers] == [200] * 40
    assert len(upstream.requests) == 40
    assert await gateway.metric("upstream_retries_total") == 0
    assert await gateway.metric("circuit_state", target="order-service/1") == 0


async def test_streamed_body_uses_the_next_address_after_a_refused_connection(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """The body is not read before the connection is established."""
    gateway = gateway_of(order_service_url=(nobody(), upstream.url))
    body, token = b"a" * 200_000, provider.token()
    for _ in range(2):
        answer = await gateway.ask("/api/orders", method="POST", body=body, token=token)
        assert answer.status == 200
    assert [seen.size for seen in upstream.requests] == [200_000] * 2


async def test_addresses_are_used_round_robin(
    gateway_of: MakeGateway, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    gateway = gateway_of(product_service_url=(upstream.url, second.url))
    for _ in range(10):
        assert (await gateway.ask("/api/products")).status == 200
    assert (len(upstream.requests), len(second.requests)) == (5, 5)


async def test_address_with_an_open_circuit_is_skipped(
    gateway_of: MakeGateway, upstream: FakeUpstream, second: FakeUpstream, provider: FakeProvider
) -> None:
    gateway = gateway_of(order_service_url=(upstream.url, second.url), circuit_failures=2)
    second.script = drop
    answers = Counter([(await order(gateway, provider)).status for _ in range(20)])
    assert answers == {200: 18, 502: 2}
    assert len(second.requests) == 2


async def test_retries_are_bounded_by_the_budget(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    gateway = gateway_of(circuit_failures=NEVER_OPENS)
    upstream.script = drop
    calls = 20
    for _ in range(calls):
        assert (await gateway.ask("/api/products")).status == 502
    retries = await gateway.metric("upstream_retries_total")
    assert len(upstream.requests) == calls + retries
    assert 10 <= retries < 14  # budget: 10 at first, 2 per second, 0.1 per call


async def test_promise_37_slow_service_gets_limited_calls_and_does_not_slow_others(
    gateway_of: MakeGateway, upstream: FakeUpstream, second: FakeUpstream, provider: FakeProvider
) -> None:
    gateway = gateway_of(order_service_url=(second.url,), upstream_concurrency=20)
    second.script = hang
    token = provider.token()
    hanging = [asyncio.create_task(gateway.ask("/api/orders/1", token=token)) for _ in range(20)]
    await until(lambda: second.busy == 20)
    refused = await asyncio.gather(*(gateway.ask("/api/orders/1", token=token) for _ in range(20)))
    assert {answer.problem()["type"] for answer in refused} == {"/problems/upstream-busy"}
    assert {answer.status for answer in refused} == {503}
    assert all(answer.header("retry-after") for answer in refused)
    assert await gateway.metric("upstream_calls_in_hand", target="order-service") == 20
    answers = await asyncio.gather(*(gateway.ask("/api/products") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    await until(lambda: second.busy == 0)
    assert await gateway.metric("upstream_calls_in_hand") == 0
    second.script = plain
    assert (await gateway.ask("/api/orders/1", token=token)).status == 200


async def test_promise_37_hanging_service_does_not_slow_others(
    gateway_of: MakeGateway, upstream: FakeUpstream, second: FakeUpstream, provider: FakeProvider
) -> None:
    """Compare alternating medians, best of eight; benchmarks/hanging_upstream.py has the p99."""
    gateway = gateway_of(
        order_service_url=(second.url,), upstream_timeout=30, upstream_concurrency=64
    )
    second.script = hang
    headers = {"Authorization": f"Bearer {provider.token()}"}
    async with gateway.client() as client:

        async def median() -> float:
            took = []
            for _ in range(30):
                began = time.perf_counter()
                assert (await client.get("/api/products")).status_code == 200
                took.append(time.perf_counter() - began)
            return sorted(took)[15]

        await median()
        well, hanging = [], []
        for _ in range(8):
            well.append(await median())
            async with aiohttp.ClientSession(headers=headers) as session:
                url = f"{gateway.url}/api/orders/1"
                calls = [asyncio.create_task(session.get(url).__aenter__()) for _ in range(64)]
                await until(lambda: second.busy == 64)
                hanging.append(await median())
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
            await until(lambda: second.busy == 0)
    assert min(hanging) < min(well) * 1.4  # the machine may be busy


async def test_promise_36_gateway_works_after_ten_thousand_cancelled_requests(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """Cancelled at every stage: before sending, during the body, before and during the response."""
    gateway = gateway_of(circuit_failures=3, upstream_timeout=30)
    rng = random.Random(36)

    async def mixed(seen: Seen, wire: Wire) -> None:
        if seen.target.endswith(b"hang"):
            await wire.until_gone()
        elif seen.target.endswith(b"stream"):
            await wire.begin_chunks()
            while True:
                await wire.chunk(b"a" * 20_000)
        else:
            await wire.answer()

    upstream.script = mixed
    token = provider.token()
    get = f"GET /api/products/%s HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n"
    post = (
        f"POST /api/orders HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {{}}\r\n\r\n"
    )
    kinds = [get % "plain", get % "hang", get % "stream", get[:40]]
    kinds += [post.format(2), post.format(90_000) + "a" * 70_000]
    requests = [kind.encode() for kind in kinds]

    def storm() -> None:
        """Keep up to 60 requests open; abort a random one each time."""
        held: list[socket.socket] = []
        for n in range(10_060):
            if n < 10_000:
                connection = socket.create_connection(("127.0.0.1", gateway.port))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(requests[n % len(requests)])
                held.append(connection)
            if len(held) > 60 or n >= 10_000:
                held.pop(rng.randrange(len(held))).close()

    await asyncio.to_thread(storm)
    answers = [await gateway.ask("/api/products/plain") for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert len(upstream.requests) > 1000  # many reached the service
    await until(lambda: upstream.busy == 0)
    assert await gateway.metric("circuit_state") == 0
    assert await gateway.metric("upstream_calls_in_hand") == 0


async def test_readiness_with_unavailable_service_is_degraded_with_200(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    gateway = gateway_of(ai_service_url=(nobody(),))
    answer = await gateway.ask("/health/ready")
    assert answer.status == 200
    states = {name: row["status"] for name, row in json.loads(answer.body)["dependencies"].items()}
    assert states == {
        "product-service": "UP",
        "order-service": "UP",
        "inventory-service": "UP",
        "ai-service": "DEGRADED",
        "identity-provider": "UP",
    }
