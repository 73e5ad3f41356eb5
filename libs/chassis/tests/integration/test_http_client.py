"""The client against a real server that hangs, drops connections, refuses, or sends garbage."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from scripted_peer import Answer, Drop, Hang, Raw, Script, ScriptedPeer, in_turn, scripted_peer

from chassis.http_client.client import (
    BreakerPolicy,
    ClientPolicy,
    Deadline,
    Reason,
    Reply,
    ResilientClient,
    RetryPolicy,
    UpstreamUnavailable,
    segment,
)
from chassis.observability.tracing import use_parent

QUICK = ClientPolicy(
    retry=RetryPolicy(attempts=3, backoff=0.001),
    read_timeout=0.5,
    breaker=BreakerPolicy(10_000, rate_calls=10_000),
)
KEY = {"Idempotency-Key": "order-1"}
Start = Callable[..., Awaitable[tuple[ScriptedPeer, ResilientClient]]]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def start(registry: CollectorRegistry) -> AsyncIterator[Start]:
    """Return a function that starts a scripted peer and its client."""
    async with AsyncExitStack() as stack:

        async def begin(script: Script, **policy: Any) -> tuple[ScriptedPeer, ResilientClient]:
            peer = await stack.enter_async_context(scripted_peer(script))
            client = ResilientClient(
                peer.url, "peer", registry=registry, policy=replace(QUICK, **policy)
            )
            stack.push_async_callback(client.aclose)
            return peer, client

        yield begin


async def failure(call: Awaitable[Reply]) -> UpstreamUnavailable:
    with pytest.raises(UpstreamUnavailable) as raised:
        await call
    return raised.value


async def test_response_is_a_reply_with_status_headers_and_body(start: Start) -> None:
    peer, client = await start(lambda _: Answer(201, b'{"price": 999.90}', (("x-a", "b"),)))
    reply = await client.request("POST", "/items", params={"q": "ü&"}, json={"n": 1})
    assert (reply.status, reply.headers["X-A"], reply.attempts) == (201, "b", 1)
    assert str(reply.json()["price"]) == "999.90"  # exact, not a float
    (seen,) = peer.requests
    assert (seen.method, seen.target, seen.body) == ("POST", "/items?q=%C3%BC%26", b'{"n":1}')
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 409, 422])
async def test_every_response_below_500_except_429_is_a_reply(start: Start, status: int) -> None:
    peer, client = await start(lambda _: Answer(status, b""))
    assert (await client.request("PUT", "/a")).status == status
    assert len(peer.requests) == 1


async def test_request_carries_trace_context_and_remaining_deadline(start: Start) -> None:
    peer, client = await start(in_turn(Answer(503), Answer()))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with use_parent(trace):
        await client.request("GET", "/a", deadline=Deadline.after(2))
    for seen in peer.requests:
        assert seen.headers["traceparent"].split("-")[1] == trace.split("-")[1]
    first, second = (int(seen.headers["x-deadline-ms"]) for seen in peer.requests)
    assert 1500 < second <= first <= 2000
    await client.request("GET", "/a")
    assert "traceparent" not in peer.requests[-1].headers
    assert 2900 < int(peer.requests[-1].headers["x-deadline-ms"]) <= 3000


@pytest.mark.parametrize("value", ["..", ".", "a/../b", "a b", "a?b#c", "ä", "%2e", "a.b", "..."])
async def test_path_segment_reaches_the_peer_unchanged(start: Start, value: str) -> None:
    peer, client = await start(lambda _: Answer())
    await client.request("GET", f"/items/{segment(value)}/check", params={"quantity": 1})
    first, items, one, rest = peer.requests[0].target.split("/")
    assert (first, items, rest) == ("", "items", "check?quantity=1")
    assert unquote(one) == value


@pytest.mark.parametrize(
    "path", ["items", "", "//evil/x", "http://evil/x", "/a/../b", "/a/.", "/a?b=c", "/a#b", "/a\n"]
)
async def test_target_that_is_not_a_plain_path_is_never_sent(start: Start, path: str) -> None:
    peer, client = await start(lambda _: Answer())
    with pytest.raises(ValueError, match="plain path"):
        await client.request("GET", path)
    assert peer.requests == []


async def test_redirect_is_a_reply_and_is_not_followed(start: Start) -> None:
    peer, client = await start(lambda _: Answer(302, headers=(("location", "/elsewhere"),)))
    assert (await client.request("GET", "/a")).status == 302
    assert len(peer.requests) == 1


async def test_calls_share_no_cookies(start: Start) -> None:
    peer, client = await start(lambda _: Answer(headers=(("set-cookie", "who=alice; Path=/"),)))
    await client.request("GET", "/a")
    await client.request("GET", "/a")
    assert "cookie" not in peer.requests[1].headers


async def test_post_on_a_dropped_connection_is_sent_once(start: Start) -> None:
    """Promise 33: the server may have run it."""
    peer, client = await start(lambda _: Drop())
    error = await failure(client.request("POST", "/a", json={}))
    assert (error.reason, error.maybe_executed, error.attempts) == (Reason.CONNECTION, True, 1)
    assert len(peer.requests) == 1


async def test_post_on_a_dropped_keep_alive_connection_is_sent_once(start: Start) -> None:
    """Promise 33: neither the pool nor the transport resends it."""
    peer, client = await start(in_turn(Answer(), Drop()))
    await client.request("GET", "/a")
    await failure(client.request("POST", "/a", json={}))
    assert [seen.method for seen in peer.requests] == ["GET", "POST"]


async def test_keep_alive_connections_from_before_a_restart_lose_no_request(
    registry: CollectorRegistry,
) -> None:
    """The peer closes ten keep-alive connections and restarts on its port."""
    async with scripted_peer(lambda _: Answer()) as peer:
        client = ResilientClient(peer.url, "peer", registry=registry, policy=QUICK)
        await asyncio.gather(*(client.request("GET", "/a") for _ in range(10)))
    port = int(peer.url.rpartition(":")[2])
    async with scripted_peer(lambda _: Answer(), port=port) as restarted:
        replies = await asyncio.gather(
            *(client.request("GET", "/a") for _ in range(10)),
            *(client.request("POST", "/a", headers=KEY) for _ in range(10)),
        )
        await client.aclose()
    assert {reply.status for reply in replies} == {200}
    assert len(restarted.requests) == 20


async def test_dropped_post_with_an_idempotency_key_is_retried(start: Start) -> None:
    """Promise 33, and step 4 of docs/order-flow.md: the reply counts the unanswered attempt."""
    peer, client = await start(in_turn(Drop(), Answer(400)))
    reply = await client.request("POST", "/a", json={}, headers=KEY)
    assert (reply.status, reply.attempts, reply.unanswered_attempts) == (400, 2, 1)
    assert [seen.headers["idempotency-key"] for seen in peer.requests] == ["order-1"] * 2


@pytest.mark.parametrize(
    "action", [Drop(), Hang(), Answer(429), Answer(502), Answer(503), Answer(504)]
)
@pytest.mark.parametrize(
    ("method", "told", "sent"),
    [
        ("GET", None, 3),
        ("HEAD", None, 3),
        ("PUT", None, 3),
        ("DELETE", None, 3),
        ("POST", None, 1),
        ("PATCH", None, 1),
        ("POST", True, 3),
        ("GET", False, 1),
    ],
)
async def test_only_idempotent_requests_are_retried(
    start: Start, action: Answer | Drop | Hang, method: str, told: bool | None, sent: int
) -> None:
    """Promise 33."""
    peer, client = await start(lambda _: action, read_timeout=0.02)
    error = await failure(client.request(method, "/a", idempotent=told))
    assert error.maybe_executed
    assert error.attempts == len(peer.requests) == sent


@pytest.mark.parametrize("status", [500, 501, 505, 507])
async def test_other_server_errors_are_not_retried(start: Start, status: int) -> None:
    peer, client = await start(lambda _: Answer(status))
    error = await failure(client.request("GET", "/a"))
    assert (error.reason, error.status) == (Reason.BAD_ANSWER, status)
    assert len(peer.requests) == 1


async def test_refused_connection_is_always_retried(
    registry: CollectorRegistry,
) -> None:
    nobody = ResilientClient("http://127.0.0.1:1", "nobody", registry=registry, policy=QUICK)
    error = await failure(nobody.request("POST", "/a", json={}))
    assert (error.reason, error.maybe_executed, error.attempts) == (Reason.CONNECTION, False, 3)
    await nobody.aclose()


async def test_unsent_attempt_does_not_hide_a_sent_one(
    registry: CollectorRegistry,
) -> None:
    async with scripted_peer(lambda _: Drop()) as peer:
        client = ResilientClient(
            peer.url,
            "peer",
            registry=registry,
            policy=replace(QUICK, retry=RetryPolicy(attempts=2, backoff=0.2)),
        )
        call = asyncio.create_task(failure(client.request("POST", "/a", headers=KEY)))
        await peer.arrived(1)
    error = await call
    assert error.maybe_executed
    await client.aclose()


@pytest.mark.parametrize(
    ("answers", "unanswered"),
    [
        ((Answer(429), Answer(404)), 0),
        ((Answer(503), Answer(404)), 1),
        ((Answer(502), Drop(), Answer(404)), 2),
        ((Hang(), Answer(404)), 1),
    ],
)
async def test_reply_counts_the_unanswered_attempts_before_it(
    start: Start, answers: tuple[Answer | Drop | Hang, ...], unanswered: int
) -> None:
    """Step 4 of docs/order-flow.md: a refusal after such attempts leaves a stock debt."""
    _, client = await start(in_turn(*answers), read_timeout=0.05)
    reply = await client.request("PATCH", "/reduce", json={}, headers=KEY)
    assert (reply.status, reply.unanswered_attempts) == (404, unanswered)


async def test_next_attempt_waits_for_retry_after(start: Start) -> None:
    """Promise 38."""
    peer, client = await start(in_turn(Answer(429, headers=(("retry-after", "1"),)), Answer()))
    await client.request("GET", "/a")
    first, second = peer.requests
    assert 1 <= second.at - first.at < 1.5


async def test_wait_beyond_the_deadline_is_not_started(start: Start) -> None:
    """Promise 38: the next attempt is at least 2 s later, or omitted."""
    peer, client = await start(lambda _: Answer(429, headers=(("retry-after", "2"),)))
    began = time.monotonic()
    error = await failure(client.request("GET", "/a", deadline=Deadline.after(1.9)))
    assert time.monotonic() - began < 0.5
    assert (error.status, error.retry_after, len(peer.requests)) == (429, 2, 1)


async def test_call_exceeds_its_deadline_by_at_most_100_ms(
    start: Start,
) -> None:
    """Promise 31: the slowest of thirty calls to a hanging peer, retries included."""
    _, client = await start(lambda _: Hang(), read_timeout=0.15)

    async def seconds() -> float:
        began = time.monotonic()
        error = await failure(client.request("GET", "/a", deadline=Deadline.after(0.4)))
        assert (error.reason, error.maybe_executed) == (Reason.TIMEOUT, True)
        return time.monotonic() - began

    slowest = max(await asyncio.gather(*(seconds() for _ in range(30))))
    assert 0.3 < slowest <= 0.5


async def test_slow_response_is_cut_off_at_the_total_timeout(start: Start) -> None:
    """Promise 31: the read timeout applies to each read, the deadline to the whole call."""
    _, client = await start(lambda _: Hang(), total_timeout=0.2, read_timeout=30)
    began = time.monotonic()
    error = await failure(client.request("POST", "/a", deadline=Deadline.after(60)))
    assert 0.2 <= time.monotonic() - began < 0.3
    assert (error.reason, error.attempts) == (Reason.TIMEOUT, 1)


async def test_no_request_is_sent_after_the_deadline(start: Start) -> None:
    peer, client = await start(lambda _: Answer())
    error = await failure(client.request("PATCH", "/a", deadline=Deadline.after(-1)))
    assert (error.reason, error.maybe_executed, error.attempts) == (Reason.TIMEOUT, False, 0)
    assert peer.requests == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", Reason.CONNECTION),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", Reason.CONNECTION),
        (
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
            Reason.BAD_ANSWER,
        ),
    ],
)
async def test_invalid_http_response_is_a_failure_of_the_peer(
    start: Start, content: bytes, reason: Reason
) -> None:
    _, client = await start(lambda _: Raw(content), breaker=BreakerPolicy(1))
    error = await failure(client.request("POST", "/a"))
    assert (error.reason, error.maybe_executed) == (reason, True)
    assert client.circuit == "open"


async def test_invalid_request_header_is_no_failure_of_the_peer(
    start: Start,
) -> None:
    peer, client = await start(lambda _: Answer(), breaker=BreakerPolicy(1))
    with pytest.raises(httpx2.LocalProtocolError, match="Illegal header"):
        await client.request("GET", "/a", headers={"x-name": "a\r\nb: c"})
    assert (client.circuit, peer.requests) == ("closed", [])


async def test_metrics_of_calls_and_retries_have_labels_of_closed_sets(
    start: Start, registry: CollectorRegistry
) -> None:
    """Promise 58."""
    script = in_turn(Answer(), Answer(404), Answer(503), Drop(), Answer(), Answer(500))
    _, client = await start(script)
    for number in range(3):
        await client.request("GET", f"/items/{number}")
    await failure(client.request("GET", "/b"))
    count = "upstream_call_seconds_count"
    for outcome, calls in (("ok", 2), ("refused", 1), ("bad_answer", 1)):
        labels = {"target": "peer", "outcome": outcome}
        assert registry.get_sample_value(count, labels) == calls
    assert registry.get_sample_value("upstream_retries_total", {"target": "peer"}) == 2
    assert REGISTRY.get_sample_value("upstream_retries_total", {"target": "peer"}) is None
