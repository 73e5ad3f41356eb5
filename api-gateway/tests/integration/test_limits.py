"""Promises 50 and 51: rate limits in one gateway, in two gateways, and without the store."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from fleet.processes.runner import Runner
from fleet.servers.valkey import ValkeyServer
from tests.conftest import MakeGateway
from tests.fakes import FakeProvider, FakeUpstream
from tests.gateways import Gateway, Reply, until


async def test_429_says_when_to_retry(gateway_of: MakeGateway, upstream: FakeUpstream) -> None:
    gateway = gateway_of(rate_limit_default="3/hour")
    answers = [await gateway.ask("/api/products") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    left = [str(answer.header("ratelimit")).split(";")[:2] for answer in answers]
    assert left == [['"products"', f"r={n}"] for n in (2, 1, 0, 0, 0)]
    assert {a.header("ratelimit-policy") for a in answers} == {'"products";q=3;w=3600'}
    problem = answers[-1].problem()
    seconds = int(str(answers[-1].header("retry-after")))
    assert problem["type"] == "/problems/quota-exceeded"
    assert problem["detail"] == (
        f"No more than 3 per 1 hour for each caller; try again in {seconds} seconds."
    )
    assert 1 <= seconds <= 3601
    assert len(upstream.requests) == 3


async def test_every_request_counts_and_every_response_has_ratelimit_headers(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """Responses 200, 401, 403, 404, 405, 400, 413 and 503 count alike."""
    gateway = gateway_of(rate_limit_default="4/hour", inventory_service_url=("http://127.0.0.1:1",))
    alice, bob = provider.token("alice"), provider.token("bob")

    async def of(group: str, expected: int, **request: object) -> None:
        path = str(request.pop("path"))
        answers = [await gateway.ask(path, **request) for _ in range(5)]  # type: ignore[arg-type]
        assert [answer.status for answer in answers] == [expected] * 4 + [429]
        for answer in answers:
            assert str(answer.header("ratelimit")).startswith(f'"{group}";r=')
            assert answer.header("ratelimit-policy") == f'"{group}";q=4;w=3600'

    await of("products", 200, path="/api/products")
    await of("orders", 401, path="/api/orders/me")
    await of("inventory", 403, path="/api/inventory", token=bob)
    await of("inventory", 503, path="/api/inventory/1/check")
    await of("other", 404, path="/api/nothing")
    await of("products", 405, path="/api/products", method="PATCH", token=bob)
    await of("other", 400, path="/api/orders/../..", token=bob)
    large = b"a" * 1_000_001
    post = {"path": "/api/orders", "method": "POST"}
    await of("orders", 413, **post, token=bob, body=large)
    in_chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large)
    headers = {"Transfer-Encoding": "chunked"}
    await of("orders", 413, **post, token=alice, body=in_chunks, headers=headers)
    assert all([(await gateway.ask("/health")).status == 200 for _ in range(10)])


async def test_groups_and_callers_have_separate_limits(
    gateway_of: MakeGateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    gateway = gateway_of(rate_limit_default="2/hour", rate_limit_ai="1/hour")
    alice, bob = provider.token("alice"), provider.token("bob")
    renewed = provider.token("alice", jti="another token of hers")

    async def statuses(path: str, *tokens: str | None) -> list[int]:
        return [(await gateway.ask(path, token=token)).status for token in tokens]

    assert await statuses("/api/orders/me", alice, alice, alice) == [200, 200, 429]
    assert await statuses("/api/orders/me", renewed, bob) == [429, 200]
    assert await statuses("/api/products", alice, None, None, None) == [200, 200, 200, 429]
    assert await statuses("/api/ai/recommendations", alice, alice, bob) == [200, 429, 200]


async def test_only_a_trusted_proxys_forwarded_for_identifies_the_caller(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    async def statuses(gateway: Gateway, *addresses: str) -> list[int]:
        found = []
        for address in addresses:
            headers = {"X-Forwarded-For": address, "Forwarded": f"for={address}"}
            found.append((await gateway.ask("/api/products", headers=headers)).status)
        return found

    wary = gateway_of(rate_limit_default="2/hour")
    assert await statuses(wary, "1.1.1.1", "2.2.2.2", "3.3.3.3") == [200, 200, 429]
    trusting = gateway_of(rate_limit_default="2/hour", trusted_proxies=("127.0.0.1",))
    forged = [f"6.6.6.{n}, 1.1.1.1" for n in range(3)]  # the proxy appends only the last
    assert await statuses(trusting, *forged) == [200, 200, 429]
    assert await statuses(trusting, "2.2.2.2", "2.2.2.2:4000") == [200, 200]
    one_network = [f"2001:db8:1:2::{n}" for n in range(3)]
    assert await statuses(trusting, *one_network) == [200, 200, 429]
    assert await statuses(trusting, "2001:db8:1:3::1") == [200]


@pytest.fixture
def store(redis_server: Runner[ValkeyServer]) -> Iterator[Runner[ValkeyServer]]:
    """Return a running, empty Valkey server."""
    redis_server.restart()
    yield redis_server
    if redis_server.alive():
        redis_server.resume()


@pytest.fixture
def shared(gateway_of: MakeGateway, store: Runner[ValkeyServer]) -> Gateway:
    """Return a gateway that counts in the store, and falls back to a local limit of 20.

    The window is a day: a new window that begins during a test would allow one more request.
    """
    return gateway_of(
        rate_limit_default="20/day",
        rate_limit_storage_uri=store.program.url,
        rate_limit_storage_timeout=0.4,
    )


async def ask(gateway: Gateway, token: str | None = None) -> Reply:
    return await gateway.ask("/api/products", token=token)


async def test_promise_50_two_gateways_with_one_store_share_the_limit(
    gateway_of: MakeGateway, store: Runner[ValkeyServer], provider: FakeProvider
) -> None:
    """One caller sends 300 requests over four connections each, limit 100; another has its own."""
    uri = store.program.url
    two = [
        gateway_of(
            rate_limit_default="100/minute",
            rate_limit_storage_uri=uri,
            rate_limit_storage_timeout=2.0,  # long: on a busy machine no fallback may begin
        )
        for _ in range(2)
    ]
    headers = {"Authorization": f"Bearer {provider.token('alice')}"}
    found: Counter[int] = Counter()
    async with two[0].client(headers=headers) as a, two[1].client(headers=headers) as b:

        async def client(number: int) -> None:
            for n in range(75):
                answer = await (a, b)[(n + number) % 2].get("/api/products")
                found[answer.status_code] += 1

        await asyncio.gather(*(client(number) for number in range(4)))
    assert found.keys() == {200, 429}
    assert 100 <= found[200] <= 101
    assert (await ask(two[0], provider.token("bob"))).status == 200
    for gateway in two:
        assert await gateway.metric("rate_limit_counted_locally_total") == 0


async def readiness(gateway: Gateway) -> str:
    table = json.loads((await gateway.ask("/health/ready")).body)["dependencies"]
    return str(table["rate-limit-store"]["status"])


async def pace_of_health(gateway: Gateway, seconds: float, path: str) -> tuple[float, list[Reply]]:
    """Request a path five at a time; return the p99 latency of /health and the responses."""
    took, answers = [], []
    asking = True

    async def watch() -> None:
        async with gateway.client() as client:
            while asking:
                began = time.perf_counter()
                assert (await client.get("/health")).status_code == 200
                took.append(time.perf_counter() - began)
                await asyncio.sleep(0.01)  # interval of the health checks

    watching = asyncio.create_task(watch())
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        answers += await asyncio.gather(*(gateway.ask(path) for _ in range(5)))
        await asyncio.sleep(0.05)
    asking = False
    await watching
    return sorted(took)[int(len(took) * 0.99)], answers


@pytest.mark.parametrize("fault", ["pause", "kill"])
async def test_promise_51_without_the_store_limits_are_applied_locally(
    shared: Gateway, store: Runner[ValkeyServer], provider: FakeProvider, fault: str
) -> None:
    assert (await ask(shared)).status == 200
    usual, _ = await pace_of_health(shared, 0.5, "/health")
    getattr(store, fault)()
    try:
        slowest, answers = await pace_of_health(shared, 2, "/api/products")
        assert slowest <= min(0.02 + 2 * usual, 0.2)  # relative to the latency of a busy machine
        assert Counter(a.status for a in answers)[200] == 20  # the local count began at zero
        assert answers[-1].status == 429
        assert answers[-1].header("retry-after")
        assert (await ask(shared, provider.token("bob"))).status == 200
        assert await shared.metric("rate_limit_counted_locally_total") == len(answers) + 1
        assert await readiness(shared) == "DEGRADED"
    finally:
        store.resume() if fault == "pause" else store.start()
    local = await shared.metric("rate_limit_counted_locally_total")
    await asyncio.sleep(1)  # the circuit's rest
    assert (await ask(shared)).status == 200  # the store has counted only one request
    assert (await ask(shared)).status == 200
    assert await shared.metric("rate_limit_counted_locally_total") <= local + 1
    assert await readiness(shared) == "UP"


async def test_promise_51_stalled_store_costs_few_connections_and_little_time(
    shared: Gateway, store: Runner[ValkeyServer]
) -> None:
    """A hundred concurrent requests wait at most the store's timeout, on few connections."""
    await ask(shared)
    identity = store.identity
    assert identity is not None
    port = int(store.program.url.rpartition(":")[2])

    def connections() -> int:
        peers = [connection.raddr for connection in psutil.Process().net_connections("tcp")]
        return sum(peer[1:] == (port,) for peer in peers)

    async def seconds() -> float:
        began = time.monotonic()
        await ask(shared)
        return time.monotonic() - began

    store.pause()
    peak = 0
    try:
        for _ in range(5):
            began = time.monotonic()
            answers = await asyncio.gather(*(ask(shared) for _ in range(100)))
            assert time.monotonic() - began < 2
            assert {answer.status for answer in answers} <= {200, 429}
            peak = max(peak, connections())
            await asyncio.sleep(0.3)
        assert min([await seconds() for _ in range(5)]) < 0.1  # no wait: the circuit is open
    finally:
        store.resume()
    assert peak <= 64
    await until(lambda: connections() <= 64)
    await asyncio.sleep(1)  # the circuit's rest
    before = connections()
    for _ in range(20):
        await ask(shared)
    assert connections() <= before + 1


async def test_gateway_starts_without_the_store(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    gateway = gateway_of(rate_limit_default="2/hour", rate_limit_storage_uri="redis://127.0.0.1:1")
    assert [(await ask(gateway)).status for _ in range(3)] == [200, 200, 429]
    assert await readiness(gateway) == "DEGRADED"
