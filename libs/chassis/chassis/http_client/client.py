"""Client of another service, on httpx2 (docs/adr/0034).

Layers of a call, the outermost first: circuit breaker (one outcome for each call), deadline (a
hanging peer counts as a failure), retries, a single attempt.
"""

import json as json_text
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlencode

import httpx2
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry

from chassis.backoff import RetryPolicy
from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy, CircuitOpen, Outcome
from chassis.http_client.deadline import Deadline
from chassis.http_client.errors import Reason, UpstreamUnavailable, is_peer_failure
from chassis.http_client.metrics import UpstreamMetrics
from chassis.http_client.response import Reply, segment
from chassis.http_client.retry import (
    IDEMPOTENT_METHODS,
    RETRIED_STATUSES,
    BudgetPolicy,
    RetryBudget,
    retry_after_seconds,
    retrying,
)
from chassis.observability.tracing import span, trace_headers

__all__ = [
    "BreakerPolicy",
    "BudgetPolicy",
    "ClientPolicy",
    "Deadline",
    "Reason",
    "Reply",
    "ResilientClient",
    "RetryPolicy",
    "UpstreamUnavailable",
    "segment",
]

_PLAIN_PATH = re.compile(r"/(?!/)[^?#\s]*")
_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout)


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """How one peer is called. Times in seconds; the total covers all attempts and waits."""

    total_timeout: float = 3.0
    connect_timeout: float = 0.5
    read_timeout: float = 2.0
    pool_timeout: float = 0.2
    max_connections: int = 100
    # Below uvicorn's 5 s, so that a POST does not meet a connection that the peer is closing.
    keepalive: float = 3.0
    # A timeout after less time than this says nothing about the peer.
    minimum_fair_timeout: float = 0.1
    retry: RetryPolicy = RetryPolicy(attempts=3, backoff=0.1, backoff_max=1.0)
    budget: BudgetPolicy = BudgetPolicy()
    breaker: BreakerPolicy = BreakerPolicy()


@dataclass(slots=True)
class _Call:
    """One logical call: the request, and the state of its attempts.

    Attributes:
        replicas: base URLs, rotated at each attempt; the call's own, as concurrent calls rotate
            theirs.
        sent: attempts that may have reached the peer.
        answered: attempts of those whose result is known.
    """

    method: str
    target: str
    body: bytes | None
    headers: dict[str, str]
    idempotent: bool
    deadline: Deadline
    replicas: deque[str]
    attempts: int = field(default=0)
    sent: int = field(default=0)
    answered: int = field(default=0)


class ResilientClient:
    """Client of one peer. The service's lifespan closes it.

    Args:
        base_url: such as `http://inventory-service:8003`. Several replicas are separated by commas:
            calls start at each in turn, and each attempt of a call goes to the next one, skipping
            those that cannot be connected to. They share one circuit and one retry budget.
        name: the peer's name in metrics (`target`) and errors.
        registry: where the metrics go; clients of other peers may share it.
        clock: monotonic seconds, for the circuit breaker and the retry budget.
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
        self._budget = RetryBudget(policy.budget, clock)
        self._breaker = AsyncBreaker(
            name,
            policy.breaker,
            registry,
            is_failure=is_peer_failure,
            is_refused=lambda error: isinstance(error.__cause__, httpx2.ConnectError),
            clock=clock,
        )
        self._replicas = deque(url.strip().rstrip("/") for url in base_url.split(","))
        self._http = httpx2.AsyncClient(
            headers={"accept-encoding": "identity"},
            timeout=httpx2.Timeout(
                policy.read_timeout, connect=policy.connect_timeout, pool=policy.pool_timeout
            ),
            limits=httpx2.Limits(
                max_connections=policy.max_connections,
                max_keepalive_connections=policy.max_connections,
                keepalive_expiry=policy.keepalive,
            ),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # store no cookie
            trust_env=False,  # no proxy, no .netrc
        )

    @property
    def circuit(self) -> str:
        """`closed`, `half-open` or `open`."""
        return self._breaker.state

    async def aclose(self) -> None:
        await self._http.aclose()

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
            path: starts with `/`, without query; quote data with `segment`.
            json: the body, unless None.
            idempotent: whether running the request twice is harmless. Default: GET, HEAD, PUT,
                DELETE, and any request with an Idempotency-Key. Other requests are repeated only if
                no connection was established.
            deadline: the caller's; the policy's total_timeout applies too.

        Raises:
            UpstreamUnavailable: no usable response.
            ValueError: the path is not a plain path.
        """
        if not _PLAIN_PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise ValueError("not a plain path")
        sent_headers = {name.lower(): value for name, value in (headers or {}).items()}
        body = None
        if json is not None:
            body = json_text.dumps(json, ensure_ascii=False, separators=(",", ":")).encode()
            sent_headers["content-type"] = "application/json"
        if idempotent is None:
            idempotent = method.upper() in IDEMPOTENT_METHODS or "idempotency-key" in sent_headers
        total = self._policy.total_timeout
        call = _Call(
            method=method,
            target=f"{path}?{urlencode(params)}" if params else path,
            body=body,
            headers=sent_headers,
            idempotent=idempotent,
            deadline=deadline.sooner_of(total) if deadline else Deadline.after(total),
            replicas=deque(self._replicas),
        )
        self._replicas.rotate(-1)
        started, outcome = time.perf_counter(), "aborted"
        try:
            reply = await self._call(call)
            outcome = "ok" if reply.status < 400 else "refused"
            return reply
        except UpstreamUnavailable as error:
            outcome = error.reason.value
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.call_seconds.labels(self._name, outcome).observe(seconds)

    async def _call(self, call: _Call) -> Reply:
        """Make the call inside circuit breaker, deadline and retries."""
        try:
            with self._breaker.guard() as guard:
                self._budget.deposit()
                seconds = call.deadline.remaining()
                retry = retrying(self._policy.retry, self._budget, seconds, self._retries.inc)
                try:
                    async with call.deadline.enforce():
                        reply: Reply = await retry(self._attempt, call)
                except TimeoutError:
                    policy = self._policy
                    fair = min(policy.minimum_fair_timeout, policy.total_timeout / 2)
                    raise self._unavailable(
                        call, Reason.TIMEOUT, counts_as_failure=seconds >= fair
                    ) from None
                if reply.status >= 400:
                    guard.outcome = Outcome.REJECTED
                return reply
        except CircuitOpen as error:
            raise UpstreamUnavailable(
                self._name, Reason.CIRCUIT_OPEN, retry_after=error.retry_after
            ) from None

    async def _attempt(self, call: _Call) -> Reply:
        """Send the request once, in a span of its own."""
        attributes = {"http.request.method": call.method, "peer.service": self._name}
        with span(f"{call.method} {self._name}", SpanKind.CLIENT, attributes) as work:
            if call.attempts:
                work.set_attribute("http.request.resend_count", call.attempts)
            call.attempts += 1
            call.sent += 1  # before sending: the deadline may cancel the attempt at any point
            try:
                response = await self._send(call)
            except httpx2.LocalProtocolError:
                raise  # the request itself is invalid; not the peer's failure
            except (*_NOT_CONNECTED, httpx2.PoolTimeout) as error:
                call.sent -= 1
                raise self._unavailable(
                    call,
                    _reason(error),
                    retryable=True,
                    # With all connections of our own in use, the peer may be healthy.
                    counts_as_failure=not isinstance(error, httpx2.PoolTimeout),
                ) from error
            except httpx2.DecodingError as error:
                raise self._unavailable(call, Reason.BAD_ANSWER, counts_as_failure=True) from error
            except httpx2.TransportError as error:
                raise self._unavailable(
                    call, _reason(error), retryable=call.idempotent, counts_as_failure=True
                ) from error
            work.set_attribute("http.response.status_code", response.status_code)
            return self._reply(call, response)

    async def _send(self, call: _Call) -> httpx2.Response:
        """Send to the next replica that can be connected to.

        Skipping a replica costs no retry: it received nothing of the request.
        """
        for others_left in reversed(range(len(call.replicas))):
            replica = call.replicas[0]
            call.replicas.rotate(-1)
            deadline_ms = str(int(call.deadline.remaining() * 1000))
            headers = call.headers | {"x-deadline-ms": deadline_ms} | trace_headers()
            try:
                return await self._http.request(
                    call.method, replica + call.target, content=call.body, headers=headers
                )
            except _NOT_CONNECTED:
                if not others_left:
                    raise
        raise AssertionError("a client has at least one replica")

    def _reply(self, call: _Call, response: httpx2.Response) -> Reply:
        """Return the reply, or raise if the status means that there is none."""
        status = response.status_code
        if status not in (502, 503, 504):  # with these, the request may still be running
            call.answered += 1
        if status >= 500 or status == 429:
            raise self._unavailable(
                call,
                Reason.BAD_ANSWER,
                status=status,
                retry_after=retry_after_seconds(response.headers.get("retry-after")),
                retryable=call.idempotent and status in RETRIED_STATUSES,
                counts_as_failure=status >= 500,
            )
        return Reply(
            self._name,
            status,
            response.headers,
            response.content,
            attempts=call.attempts,
            unanswered_attempts=call.sent - call.answered,
        )

    def _unavailable(
        self,
        call: _Call,
        reason: Reason,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
        counts_as_failure: bool = False,
    ) -> UpstreamUnavailable:
        return UpstreamUnavailable(
            self._name,
            reason,
            status=status,
            retry_after=retry_after,
            attempts=call.attempts,
            maybe_executed=call.sent > 0,
            retryable=retryable,
            counts_as_failure=counts_as_failure,
        )


def _reason(error: httpx2.TransportError) -> Reason:
    timeout = isinstance(error, httpx2.TimeoutException)
    return Reason.TIMEOUT if timeout else Reason.CONNECTION
