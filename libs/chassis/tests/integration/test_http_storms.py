"""The client with many concurrent calls: cancelled, refused, hanging, retried."""

import asyncio
import gc
import random
import time
from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from scripted_peer import Answer, Hang, ScriptedPeer, in_turn, scripted_peer

from chassis.http_client.client import (
    BreakerPolicy,
    BudgetPolicy,
    ClientPolicy,
    Deadline,
    Reason,
    ResilientClient,
    RetryPolicy,
    UpstreamUnavailable,
)

NEVER_OPENS = BreakerPolicy(failures_in_a_row=100_000, rate_calls=100_000)
QUICK_RETRIES = RetryPolicy(attempts=3, backoff=0.001)
ONCE = RetryPolicy(attempts=1)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def client_of(
    peer: ScriptedPeer, policy: ClientPolicy, clock: Clock | None = None
) -> ResilientClient:
    return ResilientClient(
        peer.url, "peer", registry=CollectorRegistry(), policy=policy, clock=clock or time.monotonic
    )


async def outcome(client: ResilientClient, deadline: Deadline | None = None) -> str:
    try:
        return str((await client.request("GET", "/a", deadline=deadline)).status)
    except UpstreamUnavailable as error:
        return error.reason.value


async def all_of(client: ResilientClient, calls: int, at_once: int) -> Counter[str]:
    """Make `calls` calls with a concurrency of `at_once`; count them by outcome."""
    left = iter(range(calls))

    async def worker() -> list[str]:
        return [await outcome(client) for _ in left]

    done = await asyncio.gather(*(worker() for _ in range(at_once)))
    return Counter(result for results in done for result in results)


# anyio's connect_tcp loses a socket when it is cancelled after the connection was established; the
# garbage collector closes it, with a warning.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_pool_survives_ten_thousand_cancelled_requests() -> None:
    """Promises 35 and 36: httpx 0.28.1 completes none of five calls afterwards."""
    rng = random.Random(36)

    async with scripted_peer(
        lambda seen: Hang() if seen.headers.get("x-hang") else Answer()
    ) as peer:
        client = client_of(peer, ClientPolicy())

        async def one(number: int) -> None:
            headers = {"x-hang": "1"} if number % 20 == 0 else {}
            call = asyncio.create_task(client.request("GET", "/a", headers=headers))
            for _ in range(rng.randrange(12)):  # cancelled at every stage
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        for batch in range(0, 10_000, 50):
            await asyncio.gather(*(one(number) for number in range(batch, batch + 50)))
        assert client.circuit == "closed"
        assert [await outcome(client) for _ in range(5)] == ["200"] * 5
        await client.aclose()
    assert len(peer.requests) > 500  # some reached the peer before the cancellation
    gc.collect()  # here, because this test ignores the warning


@pytest.mark.parametrize(("ratio", "amplification"), [(0.1, 1.2), (9.0, 3.0)])
async def test_retries_do_not_multiply_the_load_on_a_broken_peer(
    ratio: float, amplification: float
) -> None:
    """Promise 32: with the budget at most 1.2 requests for each call; without it, 3."""
    policy = ClientPolicy(
        retry=QUICK_RETRIES, budget=BudgetPolicy(retries_per_call=ratio), breaker=NEVER_OPENS
    )
    async with scripted_peer(lambda _: Answer(503)) as peer:
        client = client_of(peer, policy)
        assert await all_of(client, 1000, at_once=20) == {"bad_answer": 1000}
        await client.aclose()
    if ratio > 1:
        assert len(peer.requests) == 3000
    else:
        assert 1050 < len(peer.requests) <= 1000 * amplification


async def test_default_policy_sends_few_requests_to_a_broken_peer() -> None:
    async with scripted_peer(lambda _: Answer(503)) as peer:
        client = client_of(peer, ClientPolicy())
        results = await all_of(client, 1000, at_once=20)
        await client.aclose()
    assert results["circuit_open"] > 950
    assert len(peer.requests) <= 3 * results["bad_answer"]


async def test_thousand_404_leave_the_circuit_closed() -> None:
    """Promise 35."""
    async with scripted_peer(lambda _: Answer(404)) as peer:
        client = client_of(peer, ClientPolicy())
        assert await all_of(client, 1000, at_once=20) == {"404": 1000}
        assert client.circuit == "closed"
        await client.aclose()


async def test_404_among_errors_does_not_keep_the_circuit_closed() -> None:
    """A peer without its database may still return 404 without a query."""
    async with scripted_peer(lambda _: Answer(500)) as peer:
        client = client_of(peer, ClientPolicy())
        for _ in range(4):
            await outcome(client)
        peer.script = in_turn(Answer(404), Answer(500))
        assert [await outcome(client) for _ in range(2)] == ["404", "bad_answer"]
        assert client.circuit == "open"
        await client.aclose()


async def test_half_open_circuit_sends_one_of_a_hundred_calls() -> None:
    """Promise 34: the circuit opens after N failures, sends one probe, closes with its response."""
    clock = Clock()
    policy = ClientPolicy(retry=ONCE)
    async with scripted_peer(lambda _: Answer(500)) as peer:
        client = client_of(peer, policy, clock)
        assert [await outcome(client) for _ in range(6)] == ["bad_answer"] * 5 + ["circuit_open"]
        assert len(peer.requests) == 5
        peer.script = lambda _: Answer(200)
        clock.now += policy.breaker.reset_timeout
        results = Counter(await asyncio.gather(*(outcome(client) for _ in range(100))))
        assert results == {"200": 1, "circuit_open": 99}
        assert (len(peer.requests), client.circuit) == (6, "closed")
        await client.aclose()


async def test_open_circuit_refuses_within_five_milliseconds() -> None:
    """Promise 34: the error has a Retry-After and says that no request was sent."""
    async with scripted_peer(lambda _: Answer(500)) as peer:
        client = client_of(peer, ClientPolicy(breaker=BreakerPolicy(failures_in_a_row=1)))
        await outcome(client)
        took = []
        for _ in range(100):
            began = time.perf_counter()
            with pytest.raises(UpstreamUnavailable) as refused:
                await client.request("POST", "/a")
            took.append(time.perf_counter() - began)
        await client.aclose()
    assert sorted(took)[50] < 0.005
    assert (refused.value.reason, refused.value.maybe_executed) == (Reason.CIRCUIT_OPEN, False)
    assert 0 < (refused.value.retry_after or 0) <= 5


async def test_hanging_peer_opens_the_circuit() -> None:
    """Promise 34: the breaker counts an expired deadline as a failure."""
    async with scripted_peer(lambda _: Hang()) as peer:
        client = client_of(peer, ClientPolicy(total_timeout=0.1, read_timeout=60))
        results = [await outcome(client) for _ in range(6)]
        await client.aclose()
    assert results == ["timeout"] * 5 + ["circuit_open"]


async def test_calls_with_a_very_short_deadline_do_not_open_the_circuit() -> None:
    """A slow peer must not open the circuits of peers that are called later."""
    async with scripted_peer(lambda _: Hang()) as peer:
        client = client_of(peer, ClientPolicy())
        results = [await outcome(client, Deadline.after(0.02)) for _ in range(10)]
        await client.aclose()
    assert results == ["timeout"] * 10


async def test_burst_beyond_the_connection_pool_does_not_open_the_circuit() -> None:
    async with scripted_peer(lambda _: Hang()) as peer:
        policy = ClientPolicy(retry=ONCE, max_connections=1, pool_timeout=0.05, total_timeout=0.4)
        client = client_of(peer, replace(policy, breaker=BreakerPolicy(failures_in_a_row=2)))
        results = await asyncio.gather(*(outcome(client) for _ in range(20)))
        assert results == ["timeout"] * 20
        assert client.circuit == "closed"
        assert len(peer.requests) == 1
        await client.aclose()


async def test_hanging_peer_does_not_slow_calls_to_a_healthy_one() -> None:
    """Promise 37: each peer has its own connections, budget and circuit."""

    async def median(client: ResilientClient) -> float:
        """Return the best of three medians, because the machine may be busy."""
        medians = []
        for _ in range(3):
            took = []
            for _ in range(100):
                began = time.perf_counter()
                assert await outcome(client) == "200"
                took.append(time.perf_counter() - began)
            medians.append(sorted(took)[50])
        return min(medians)

    async with scripted_peer(lambda _: Answer()) as healthy, scripted_peer(lambda _: Hang()) as ill:
        good, bad = client_of(healthy, ClientPolicy()), client_of(ill, ClientPolicy())
        alone = await median(good)
        waiting = [asyncio.create_task(outcome(bad)) for _ in range(100)]
        await ill.arrived(100)
        beside = await median(good)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.gather(good.aclose(), bad.aclose())
    assert beside < alone * 1.5
