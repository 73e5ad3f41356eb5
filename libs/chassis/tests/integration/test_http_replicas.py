"""A peer with several addresses: round robin, and failover from unreachable addresses."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from scripted_peer import Answer, Drop, Script, ScriptedPeer, scripted_peer

from chassis.http_client.client import (
    BreakerPolicy,
    BudgetPolicy,
    ClientPolicy,
    Reason,
    ResilientClient,
    RetryPolicy,
    UpstreamUnavailable,
)

QUICK_RETRIES = RetryPolicy(attempts=3, backoff=0.001)
POLICY = ClientPolicy(retry=QUICK_RETRIES, breaker=BreakerPolicy(10_000, rate_calls=10_000))
NO_BUDGET = BudgetPolicy(retries_per_call=0, retries_per_second=0, reserve=0)
UNREACHABLE = "http://127.0.0.1:1"
KEY = {"Idempotency-Key": "order-1"}


@asynccontextmanager
async def client_of(*urls: str, policy: ClientPolicy = POLICY) -> AsyncIterator[ResilientClient]:
    client = ResilientClient(", ".join(urls), "peer", registry=CollectorRegistry(), policy=policy)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def two(
    first: Script, second: Script
) -> AsyncIterator[tuple[ScriptedPeer, ScriptedPeer, ResilientClient]]:
    async with (
        scripted_peer(first) as one,
        scripted_peer(second) as other,
        client_of(one.url, other.url) as client,
    ):
        yield one, other, client


def well(_: object) -> Answer:
    return Answer()


async def test_peer_is_called_within_a_second_of_its_restart() -> None:
    """A circuit opened by refused connections must close soon after the peer's restart."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with client_of(
        f"http://127.0.0.1:{port}", policy=ClientPolicy(retry=QUICK_RETRIES)
    ) as client:
        while client.circuit == "closed":
            with pytest.raises(UpstreamUnavailable):
                await client.request("GET", "/a")
        async with scripted_peer(well, port=port), asyncio.timeout(1.0):
            while True:
                with contextlib.suppress(UpstreamUnavailable):
                    await client.request("GET", "/a")
                    break
                await asyncio.sleep(0.02)


async def test_calls_use_replicas_round_robin() -> None:
    async with two(well, well) as (one, other, client):
        for number in range(6):
            await client.request("GET", f"/items/{number}", params={"q": "ü"})
        assert [seen.target for seen in one.requests] == [f"/items/{n}?q=%C3%BC" for n in (0, 2, 4)]
        assert len(other.requests) == 3


async def test_retry_goes_to_the_other_replica() -> None:
    """This also holds for concurrent calls, each of which chooses its own first replica."""
    async with two(lambda _: Drop(), well) as (one, other, client):
        replies = await asyncio.gather(*(client.request("GET", "/a") for _ in range(10)))
        assert sorted(reply.attempts for reply in replies) == [1] * 5 + [2] * 5
        assert (len(one.requests), len(other.requests)) == (5, 10)


async def test_request_that_may_have_run_is_not_sent_to_another_replica() -> None:
    """Promise 33."""
    async with two(lambda _: Drop(), well) as (one, other, client):
        with pytest.raises(UpstreamUnavailable) as raised:
            await client.request("POST", "/a", json={})
        assert raised.value.maybe_executed
        assert (len(one.requests), other.requests) == (1, [])
        await client.request("POST", "/a", json={})  # starts with the other replica
        reply = await client.request("POST", "/a", json={}, headers=KEY)
        assert (reply.attempts, reply.unanswered_attempts) == (2, 1)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_replica_that_refuses_connections_is_skipped_without_a_retry(method: str) -> None:
    """No request was sent, so the client uses the other address at once: without retry budget,
    without backoff, and for unsafe methods too."""
    policy = replace(
        POLICY,
        budget=NO_BUDGET,
        retry=RetryPolicy(attempts=1),
        connect_timeout=5.0,
        pool_timeout=5.0,
        read_timeout=5.0,
        total_timeout=15.0,
    )
    async with (
        scripted_peer(well) as peer,
        client_of(UNREACHABLE, peer.url, policy=policy) as client,
    ):
        calls = (client.request(method, "/a", json={"n": n}) for n in range(40))
        replies = await asyncio.gather(*calls)
        assert {(reply.attempts, reply.unanswered_attempts) for reply in replies} == {(1, 0)}
        assert len(peer.requests) == 40
        assert client.circuit == "closed"


async def test_attempts_are_not_multiplied_by_the_replicas() -> None:
    async with client_of(UNREACHABLE, "http://127.0.0.1:2") as client:
        with pytest.raises(UpstreamUnavailable) as raised:
            await client.request("POST", "/a", json={})
    error = raised.value
    assert (error.reason, error.attempts, error.maybe_executed) == (Reason.CONNECTION, 3, False)
