"""The services behind the gateway: replicas in turn, each with its circuit breaker.

A call goes to the next replica whose circuit is not open and that accepts a connection. It is
retried only where that is safe: no connection was made, or the method has no effect (GET). A
response of any status is a response; only a missing or broken one counts against a replica.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from multidict import CIMultiDict
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Gauge
from yarl import URL

from app.config import Settings
from app.errors import (
    InvalidUpstreamResponse,
    UpstreamBusy,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from app.headers import has_control_characters
from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy, CircuitOpen, Outcome
from chassis.http_client.errors import Reason
from chassis.http_client.metrics import UpstreamMetrics
from chassis.http_client.retry import RetryBudget
from chassis.observability.tracing import span, trace_headers
from chassis.problems import Problem

_CONNECT_TIMEOUT_SECONDS = 1.0
# Below uvicorn's 5 s: otherwise a POST can meet a connection that the service is closing.
_KEEPALIVE_SECONDS = 3.0
_MAX_LINE_BYTES = 32_768
_MAX_ATTEMPTS = 3
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class CallDeadline(Protocol):
    """Cancels a call whose response is late; see `disconnect_watcher.WatchedCall`."""

    waiting_since: float
    timeout: float

    def acknowledge_timeout(self) -> bool:
        """Return whether the timeout caused the CancelledError just caught, and clear it if so."""


class Body(Protocol):
    """The body of a request to an upstream."""

    @property
    def is_replayable(self) -> bool:
        """Whether it can be sent a second time."""

    @property
    def client_error(self) -> Exception | None:
        """Why the client's side ended early."""

    def content(self) -> bytes | AsyncIterator[bytes] | None: ...


@dataclass(slots=True)
class UpstreamRequest:
    """A request to send; `target` is path and query as the client sent them."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: Body


@dataclass(frozen=True, slots=True)
class UpstreamPolicy:
    """How one upstream is called.

    Attributes:
        timeout: seconds until a response begins, over all attempts, and between two of its parts.
        concurrency: calls at a time.
    """

    timeout: float
    concurrency: int
    breaker: BreakerPolicy


class Bulkhead:
    """Limits the calls to one upstream, so that a slow service cannot hold every connection.

    A context manager, entered once per call, from the request to the last byte of the response.

    Raises:
        UpstreamBusy: on entering, when the limit is reached.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self.in_flight = 0

    def __enter__(self) -> None:
        if self.in_flight >= self._limit:
            raise UpstreamBusy(
                f"{self._name} has reached its limit of concurrent calls; try again shortly."
            )
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1


@dataclass(frozen=True, slots=True)
class _Replica:
    url: str
    breaker: AsyncBreaker


class Upstream:
    """One service. Built in `create_app`; opened and closed in the lifespan."""

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        policy: UpstreamPolicy,
        registry: CollectorRegistry,
        in_flight: Gauge,
    ) -> None:
        self.name = name
        self.bulkhead = Bulkhead(name, policy.concurrency)
        self._policy = policy
        self._replicas = deque(_replicas(name, urls, policy.breaker, registry))
        self._retry_budget = RetryBudget()
        self._metrics = UpstreamMetrics.of(registry)
        self._session: aiohttp.ClientSession | None = None
        in_flight.labels(name).set_function(lambda: self.bulkhead.in_flight)
        self._observe_seconds = {
            outcome: self._metrics.call_seconds.labels(name, outcome).observe
            for outcome in ("ok", "refused", "aborted", *_OUTCOMES.values())
        }

    async def open(self) -> None:
        """Create the connection pool without connecting."""
        self._session = _client_session(self._policy.timeout)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def probe(self) -> None:
        """Raise when no replica answers `/health`; for readiness."""
        assert self._session is not None  # noqa: S101  opened by the lifespan
        failures: list[Exception] = []
        for replica in self._replicas:
            try:
                async with self._session.get(f"{replica.url}/health") as response:
                    response.raise_for_status()
                    return
            except Exception as error:
                failures.append(error)
        raise failures[0]

    async def send(
        self, request: UpstreamRequest, deadline: CallDeadline
    ) -> aiohttp.ClientResponse:
        """Return the response as soon as its head has arrived; the caller reads and closes it.

        Raises:
            UpstreamUnreachable, UpstreamTimeout, InvalidUpstreamResponse: no response to forward.
            Exception: the body's `client_error`.
        """
        started, outcome = time.perf_counter(), "aborted"
        try:
            response = await self._send_with_retries(request, deadline)
            outcome = "ok" if response.status < 400 else "refused"
            return response
        except Problem as error:
            outcome = _OUTCOMES.get(type(error), "aborted")
            raise
        finally:
            deadline.timeout = math.inf
            self._observe_seconds[outcome](time.perf_counter() - started)

    async def _send_with_retries(
        self, request: UpstreamRequest, deadline: CallDeadline
    ) -> aiohttp.ClientResponse:
        deadline.waiting_since = asyncio.get_running_loop().time()
        deadline.timeout = self._policy.timeout
        self._retry_budget.deposit()
        replicas = self._replicas.copy()  # the order of this call; others rotate theirs
        self._replicas.rotate(-1)
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                return await self._send_to_next_replica(request, deadline, replicas)
            except TimeoutError as error:  # aiohttp's connection timeout is one, too
                if not isinstance(error, _NOT_CONNECTED):
                    detail = f"{self.name} did not answer in time.{_unknown_outcome(request)}"
                    raise UpstreamTimeout(detail) from None
                last: Exception = error
            except (aiohttp.ClientError, OSError) as error:
                last = error
            if attempt == _MAX_ATTEMPTS or not self._may_retry(request, last):
                break
            self._metrics.retries.labels(self.name).inc()
        if isinstance(last, _NOT_CONNECTED):
            raise UpstreamUnreachable(f"{self.name} cannot be reached.") from last
        detail = f"{self.name} sent no valid response.{_unknown_outcome(request)}"
        raise InvalidUpstreamResponse(detail) from last

    def _may_retry(self, request: UpstreamRequest, error: Exception) -> bool:
        is_safe = isinstance(error, _NOT_CONNECTED) or request.method in _SAFE_METHODS
        return is_safe and request.body.is_replayable and self._retry_budget.withdraw()

    async def _send_to_next_replica(
        self, request: UpstreamRequest, deadline: CallDeadline, replicas: deque[_Replica]
    ) -> aiohttp.ClientResponse:
        """Make one attempt, at the next replica with a closed circuit that accepts a connection.

        A replica that accepts no connection has received nothing. The next one is tried at once,
        and no retry is taken from the budget.
        """
        retry_after: list[float] = []
        not_connected: Exception | None = None
        for _ in range(len(replicas)):
            replica = replicas[0]
            replicas.rotate(-1)
            try:
                with replica.breaker.guard() as guard:
                    response = await self._send_traced(replica, request, deadline)
                    if response.status >= 400:
                        guard.outcome = Outcome.REJECTED
                    return response
            except CircuitOpen as error:
                retry_after.append(error.retry_after)
            except _NOT_CONNECTED as error:
                not_connected = error
        if not_connected is not None:
            raise not_connected
        raise UpstreamUnreachable(
            f"{self.name} is unavailable at the moment.", retry_after=min(retry_after)
        )

    async def _send_traced(
        self, replica: _Replica, request: UpstreamRequest, deadline: CallDeadline
    ) -> aiohttp.ClientResponse:
        """Send the request in a client span, which the upstream's span has as parent."""
        attributes = {"http.request.method": request.method, "peer.service": self.name}
        with span(f"{request.method} {self.name}", SpanKind.CLIENT, attributes) as current:
            request.headers.update(trace_headers())
            response = await self._send_once(replica, request, deadline)
            current.set_attribute("http.response.status_code", response.status)
            return response

    async def _send_once(
        self, replica: _Replica, request: UpstreamRequest, deadline: CallDeadline
    ) -> aiohttp.ClientResponse:
        assert self._session is not None  # noqa: S101  opened by the lifespan
        body = request.body
        try:
            response = await self._session.request(
                request.method,
                URL(replica.url + request.target, encoded=True),
                headers=request.headers,
                data=body.content(),
                allow_redirects=False,
            )
        except asyncio.CancelledError:
            if not deadline.acknowledge_timeout():
                raise
            raise TimeoutError from None
        except (aiohttp.ClientError, OSError):
            if body.client_error is not None:
                raise body.client_error from None  # not the upstream's failure
            raise
        if not 200 <= response.status <= 599 or has_control_characters(response.raw_headers):
            response.close()
            raise aiohttp.ClientPayloadError("the response head must not be forwarded")
        return response


def create_upstreams(settings: Settings, registry: CollectorRegistry) -> dict[str, Upstream]:
    """Return the four services by the names that the role table uses."""
    in_flight = Gauge(
        "upstream_calls_in_hand", "Calls that have not ended yet", ["target"], registry=registry
    )
    breaker = BreakerPolicy(
        failures_in_a_row=settings.circuit_failures,
        rate_calls=4 * settings.circuit_failures,
        reset_timeout=settings.circuit_reset_seconds,
    )
    urls: Mapping[str, Sequence[str]] = {
        "product-service": settings.product_service_url,
        "order-service": settings.order_service_url,
        "inventory-service": settings.inventory_service_url,
        "ai-service": settings.ai_service_url,
    }
    timeouts = {"ai-service": settings.upstream_timeout_ai}
    return {
        name: Upstream(
            name,
            urls[name],
            UpstreamPolicy(
                timeouts.get(name, settings.upstream_timeout),
                settings.upstream_concurrency,
                breaker,
            ),
            registry,
            in_flight,
        )
        for name in urls
    }


def _replicas(
    name: str, urls: Sequence[str], policy: BreakerPolicy, registry: CollectorRegistry
) -> list[_Replica]:
    if len(urls) == 1:
        labels, is_failure = [name], _is_failure
    else:
        labels = [f"{name}/{number}" for number in range(1, len(urls) + 1)]
        is_failure = _is_failure_with_other_replicas
    return [
        _Replica(
            url,
            AsyncBreaker(
                label,
                policy,
                registry,
                is_failure=is_failure,
                is_refused=_is_refused_connection,
            ),
        )
        for url, label in zip(urls, labels, strict=True)
    ]


def _client_session(timeout: float) -> aiohttp.ClientSession:
    """Create a session that adds nothing to a request and shares only connections."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, ttl_dns_cache=10
        ),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT_SECONDS, sock_read=timeout
        ),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_AUTO_HEADERS,
        max_line_size=_MAX_LINE_BYTES,
        max_field_size=_MAX_LINE_BYTES,
    )
    # aiohttp has no setting for this: it would send GET, PUT and DELETE a second time when a kept
    # connection breaks, outside our retry budget (ADR 2).
    session._retry_connection = False
    return session


def _is_failure(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ClientError | OSError)


def _is_failure_with_other_replicas(error: BaseException) -> bool:
    """Return whether the error counts against a replica that is not the only one.

    A refused connection does not: it usually means a restart, the next replica is tried at once,
    and an open circuit would keep calls from a replica that is back while another one restarts.
    """
    return _is_failure(error) and not _is_refused_connection(error)


def _is_refused_connection(error: BaseException) -> bool:
    """Return whether the replica refused the connection, or its host name is unknown."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return True
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError
    )


def _unknown_outcome(request: UpstreamRequest) -> str:
    return "" if request.method in _SAFE_METHODS else " Whether it acted is not known."


_OUTCOMES: dict[type[Problem], str] = {
    UpstreamUnreachable: Reason.CONNECTION.value,
    UpstreamTimeout: Reason.TIMEOUT.value,
    InvalidUpstreamResponse: Reason.BAD_ANSWER.value,
}
