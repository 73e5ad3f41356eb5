"""Calls to another service: bounded in time, retried where that is safe, cut off when it is down.

From the outside in: the breaker (one call, one vote), the deadline (so that a hanging peer is a
failed vote), the retries, one attempt. On aiohttp, at a third of httpx2's CPU (docs/adr/0006).
"""

import asyncio
import json as json_text
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry
from yarl import URL

from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy, CircuitOpen, Vote
from chassis.http_client.deadline import Deadline
from chassis.http_client.response import (
    Reason,
    Reply,
    UpstreamMetrics,
    UpstreamUnavailable,
    is_peers_failure,
    segment,
)
from chassis.http_client.retry import (
    IDEMPOTENT_METHODS,
    RETRIED_STATUSES,
    ClientPolicy,
    RetryBudget,
    retry_after_seconds,
    retrying,
)
from chassis.observability.tracing import Kind, span, traceparent

__all__ = [
    "BreakerPolicy",
    "ClientPolicy",
    "Deadline",
    "Reason",
    "Reply",
    "ResilientClient",
    "UpstreamUnavailable",
    "is_refused_connection",
    "plain_session",
    "segment",
]

_NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_PATH = re.compile(r"/(?!/)[^?#\s]*")


class _GivenHeaders(aiohttp.ClientRequest):
    """A request with the headers that it is given and no others.

    `skip_auto_headers` says the same, and copies all headers for each request to do so.
    """

    _skip_auto_headers = CIMultiDict({"Content-Type": None})

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add none."""


def plain_session(
    *, connect: float, read: float, keepalive: float, largest_line: int = 8190
) -> aiohttp.ClientSession:
    """A session that sends what it is told, once, and shares nothing between calls but connections.

    Args:
        connect, read, keepalive: seconds; for a connection to come about, between two parts of an
            answer, and that an idle connection is kept.
        largest_line: bytes, of an answer's first line and of each header; aiohttp's own bound.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive, ttl_dns_cache=10),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        request_class=_GivenHeaders,
        trust_env=False,  # no proxy, no .netrc: peers are called directly
        max_line_size=largest_line,
        max_field_size=largest_line,
    )
    # Else aiohttp sends GET, PUT and DELETE again by itself, unseen and unpaid.
    session._retry_connection = False
    return session


def is_refused_connection(error: BaseException | None) -> bool:
    """Return whether the peer's address refused the connection, or its host name is unknown.

    Both are what a caller sees while the peer restarts, and both cost almost no time.
    """
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return True
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError
    )


class _PoolExhausted(Exception):
    """All connections stayed in use for longer than a call waits for one."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(slots=True)
class _Call:
    """One logical call: what is sent, and what its attempts came to so far."""

    method: str
    target: str
    body: bytes | None
    replicas: deque[str]
    headers: dict[str, str]
    idempotent: bool
    deadline: Deadline
    attempts: int = 0
    reached: int = 0
    unanswered: int = 0


class ResilientClient:
    """One peer. Built in the service's lifespan and closed there.

    Args:
        base_url: such as `http://inventory-service:8003`; of a peer's replicas where no name stands
            for them all, several with commas between. Calls begin at each in turn, and each attempt
            of a call goes to the next one, past those that cannot be connected to; circuit and
            budget are the peer's as a whole.
        name: the peer's name in metrics (`target`) and errors.
        registry: where the metrics go; clients of other peers may share it.
        clock: monotonic seconds, the breaker's and the retry budget's.
    """

    def __init__(
        self,
        base_url: str,
        name: str,
        *,
        registry: CollectorRegistry,
        policy: ClientPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy = policy or ClientPolicy()
        self._name = name
        self._metrics = UpstreamMetrics.of(registry)
        self._retries = self._metrics.retries.labels(name)
        self._budget = RetryBudget(policy, clock)
        self._breaker = AsyncBreaker(
            name,
            policy.breaker,
            registry,
            is_failure=is_peers_failure,
            is_refused=lambda error: is_refused_connection(error.__cause__),
            clock=clock,
        )
        self._replicas = deque(url.strip().rstrip("/") for url in base_url.split(","))
        self._connections = asyncio.Semaphore(policy.max_connections)
        self._session: aiohttp.ClientSession | None = None

    @property
    def circuit(self) -> str:
        """`closed`, `half-open` or `open`."""
        return self._breaker.state

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        deadline: Deadline | None = None,
    ) -> Reply:
        """Call the peer.

        Args:
            path: from `/` on, without query; what comes from data is quoted (see `segment`).
            json: the body, where it is not None.
            idempotent: whether running it twice is harmless. Unless told: GET, HEAD, PUT, DELETE,
                and whatever carries an Idempotency-Key. Others are tried again only where no
                connection came about, so that nothing can have run.
            deadline: the caller's own; the policy's total_timeout holds as well.

        Raises:
            UpstreamUnavailable: no answer to work with.
            ValueError: the path is not a plain path.
        """
        if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise ValueError("not a plain path")
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        body = None if json is None else _encoded(json)
        if body is not None:
            sent["content-type"] = "application/json"
        if idempotent is None:
            idempotent = method.upper() in IDEMPOTENT_METHODS or "idempotency-key" in sent
        total = self._policy.total_timeout
        call = _Call(
            method=method,
            target=f"{path}?{urlencode(params)}" if params else path,
            body=body,
            replicas=deque(self._replicas),  # the call's own: others rotate theirs meanwhile
            headers=sent,
            idempotent=idempotent,
            deadline=deadline.sooner_of(total) if deadline else Deadline.after(total),
        )
        self._replicas.rotate(-1)
        return await self._measured(call)

    async def _measured(self, call: _Call) -> Reply:
        started, outcome = time.perf_counter(), "aborted"
        try:
            reply = await self._guarded(call)
            outcome = "ok" if reply.status < 400 else "refused"
        except UpstreamUnavailable as error:
            outcome = error.reason.value
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.call_seconds.labels(self._name, outcome).observe(seconds)
        return reply

    async def _guarded(self, call: _Call) -> Reply:
        try:
            with self._breaker.guard() as ballot:
                reply = await self._within_deadline(call)
                if reply.status >= 400:
                    ballot.vote = Vote.REFUSAL
                return reply
        except CircuitOpen as error:
            raise UpstreamUnavailable(
                self._name, Reason.CIRCUIT_OPEN, retry_after=error.retry_after
            ) from None

    async def _within_deadline(self, call: _Call) -> Reply:
        seconds = call.deadline.remaining()
        self._budget.deposit()
        try:
            async with call.deadline.enforce():
                return await self._retried(call)
        except TimeoutError:
            fair = seconds >= min(self._policy.least_trial, self._policy.total_timeout / 2)
            raise self._failure(call, Reason.TIMEOUT, speaks_against_peer=fair) from None

    async def _retried(self, call: _Call) -> Reply:
        """The first attempt outside of the loop: it costs more than all else here, and most calls
        need none. Its first round only tells it what became of that attempt."""
        try:
            return await self._attempt(call)
        except UpstreamUnavailable as error:
            if not error.retryable:
                raise
            failed = [error]

        async def again() -> Reply:
            if failed:
                raise failed.pop()
            return await self._attempt(call)

        left = call.deadline.remaining()
        return await retrying(self._policy, self._budget, left, self._retries.inc)(again)

    async def _attempt(self, call: _Call) -> Reply:
        """One request, with a span of its own: a retry is to be seen, and the peer names it."""
        about = {"http.request.method": call.method, "peer.service": self._name}
        with span(f"{call.method} {self._name}", Kind.CLIENT, about) as work:
            if call.attempts:
                work.note("http.request.resend_count", call.attempts)
            reply = await self._exchange(call)
            work.note("http.response.status_code", reply.status)
        return reply

    async def _exchange(self, call: _Call) -> Reply:
        call.attempts += 1
        call.reached += 1  # until shown otherwise: the deadline may cut us off anywhere from here
        call.unanswered += 1
        try:
            answer = await self._sent(call)
        except (aiohttp.ClientError, OSError, _PoolExhausted) as error:
            raise self._lost(call, error) from error
        return self._judge(call, answer)

    async def _sent(self, call: _Call) -> _Answer:
        """To the next replica, or at once to the one after it: no wait and no budget stands against
        that, as the one that could not be connected to has had nothing of the request."""
        for others in reversed(range(len(call.replicas))):
            url = URL(call.replicas[0] + call.target, encoded=True)
            call.replicas.rotate(-1)
            headers = call.headers | {"x-deadline-ms": str(int(call.deadline.remaining() * 1000))}
            if (trace := traceparent()) is not None:
                headers["traceparent"] = trace
            try:
                return await self._exchanged(call, url, headers)
            except _NO_CONNECTION:
                if not others:
                    raise
        raise AssertionError("there is always a replica")

    async def _exchanged(self, call: _Call, url: URL, headers: Mapping[str, str]) -> _Answer:
        async with self._connection() as session:
            request = session.request(
                call.method, url, data=call.body, headers=headers, allow_redirects=False
            )
            async with request as response:
                return _Answer(response.status, response.headers, await response.read())

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The session, while there is a connection for one more request.

        aiohttp's own limit would tell a wait for the pool as a timeout of the peer's.
        """
        if self._connections.locked():
            try:
                async with asyncio.timeout(self._policy.pool_timeout):
                    await self._connections.acquire()
            except TimeoutError:
                raise _PoolExhausted from None
        else:
            await self._connections.acquire()
        try:
            yield self._open_session()
        finally:
            self._connections.release()

    def _open_session(self) -> aiohttp.ClientSession:
        """Made where the first request runs: a session belongs to its loop."""
        if self._session is None:
            policy = self._policy
            self._session = plain_session(
                connect=policy.connect_timeout,
                read=policy.read_timeout,
                keepalive=policy.keepalive,
            )
        return self._session

    def _lost(self, call: _Call, error: Exception) -> UpstreamUnavailable:
        pool = isinstance(error, _PoolExhausted)
        never_sent = pool or isinstance(error, _NO_CONNECTION)
        if never_sent:
            call.reached -= 1
            call.unanswered -= 1
        return self._failure(
            call,
            Reason.TIMEOUT if pool or isinstance(error, TimeoutError) else Reason.CONNECTION,
            retryable=never_sent or call.idempotent,
            speaks_against_peer=not pool,  # all of our own in use is not the peer's failure
        )

    def _judge(self, call: _Call, answer: _Answer) -> Reply:
        status = answer.status
        if status not in RETRIED_STATUSES or status == 429:
            call.unanswered -= 1
        if status >= 500 or status == 429:
            raise self._failure(
                call,
                Reason.BAD_ANSWER,
                status=status,
                retry_after=retry_after_seconds(answer.headers.get("retry-after")),
                retryable=call.idempotent and status in RETRIED_STATUSES,
                speaks_against_peer=status >= 500,
            )
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise self._failure(call, Reason.BAD_ANSWER, status=status, speaks_against_peer=True)
        return Reply(
            self._name,
            status,
            answer.headers,
            answer.content,
            call.attempts,
            call.unanswered,
        )

    def _failure(self, call: _Call, reason: Reason, **more: Any) -> UpstreamUnavailable:
        return UpstreamUnavailable(
            self._name, reason, attempts=call.attempts, maybe_executed=call.reached > 0, **more
        )


def _encoded(json: object) -> bytes:
    return json_text.dumps(json, ensure_ascii=False, separators=(",", ":")).encode()
