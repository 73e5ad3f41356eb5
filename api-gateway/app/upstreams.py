"""The services behind the gateway: their addresses in turn, each with its circuit.

A call goes to the next address whose circuit is not open and that can be connected to. It is tried
once more where that is safe: nothing was sent (no connection came about), or nothing can have
happened (GET). Answers of any status are answers; only silence speaks against an upstream.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from multidict import CIMultiDict
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Gauge
from yarl import URL

from app.errors import UpstreamAway, UpstreamBroken, UpstreamBusy, UpstreamTimeout
from app.headers import is_clean
from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy, CircuitOpen, Outcome
from chassis.http_client.errors import Reason
from chassis.http_client.metrics import UpstreamMetrics
from chassis.http_client.retry import RetryBudget
from chassis.observability.tracing import span, trace_headers
from chassis.problems import Problem

CONNECT_SECONDS = 1.0
KEEPALIVE_SECONDS = 3.0  # below uvicorn's 5: else a POST meets a connection just being closed
_LARGEST_LINE = 32_768
_ATTEMPTS = 3
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_HARMLESS_TWICE = frozenset({"GET", "HEAD", "OPTIONS"})


class Patience(Protocol):
    """What ends a wait for an answer that does not come: see `watch.Call`."""

    since: float
    seconds: float

    def was_late(self) -> bool:
        """Whether the cancellation just caught was the deadline's."""


class Body(Protocol):
    """A request's body on its way through."""

    @property
    def replayable(self) -> bool:
        """Whether it can be sent a second time."""

    @property
    def failure(self) -> Exception | None:
        """Why the client's side of it ended early."""

    def content(self) -> bytes | AsyncIterator[bytes] | None: ...


@dataclass(slots=True)
class Outgoing:
    """What is to be sent; the target is path and query as they came."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: Body


@dataclass(frozen=True, slots=True)
class UpstreamPolicy:
    """How one upstream is called. The timeout (seconds) is until an answer begins, attempts and
    all, and between two parts of it."""

    timeout: float
    concurrency: int
    breaker: BreakerPolicy


class _Target:
    """One address of an upstream; `alone` where it is the only one."""

    def __init__(
        self,
        url: str,
        label: str,
        policy: UpstreamPolicy,
        registry: CollectorRegistry,
        *,
        alone: bool,
    ) -> None:
        self.url = url
        self.circuit = AsyncBreaker(
            label,
            policy.breaker,
            registry,
            is_failure=_is_silence if alone else _is_long_silence,
            is_refused=is_refused_connection,
        )


class Slots:
    """Room for so many calls at a time, each from its sending to the last byte of its answer: one
    slow service must not hold every connection. A context manager, entered once for each call.

    Raises, where there is no more room:
        UpstreamBusy.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self.taken = 0

    def __enter__(self) -> None:
        if self.taken >= self._most:
            raise UpstreamBusy(
                f"{self._name} has as many calls in hand as it may; try again shortly."
            )
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class Upstream:
    """One service. Built in the app's factory; `open` and `aclose` belong to its lifespan."""

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        policy: UpstreamPolicy,
        registry: CollectorRegistry,
        in_hand: Gauge,
    ) -> None:
        self.name = name
        self._policy = policy
        labels = [name] if len(urls) == 1 else [f"{name}/{n}" for n in range(1, len(urls) + 1)]
        self._targets = deque(
            _Target(url, label, policy, registry, alone=len(urls) == 1)
            for url, label in zip(urls, labels, strict=True)
        )
        self.slots = Slots(name, policy.concurrency)
        self._budget = RetryBudget()
        self._metrics = UpstreamMetrics.of(registry)
        self._session: aiohttp.ClientSession | None = None
        in_hand.labels(name).set_function(lambda: self.slots.taken)
        self._observe = {
            outcome: self._metrics.call_seconds.labels(name, outcome).observe
            for outcome in ("ok", "refused", "aborted", *_OUTCOMES.values())
        }

    async def open(self) -> None:
        """Make the connection pool; nobody is called yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=10
            ),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=self._policy.timeout
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trust_env=False,
            max_line_size=_LARGEST_LINE,
            max_field_size=_LARGEST_LINE,
        )
        # Else aiohttp sends GET, PUT and DELETE again by itself, unseen and unpaid.
        self._session._retry_connection = False

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def probe(self) -> None:
        """For readiness: raises when no address says that it is alive."""
        assert self._session is not None  # noqa: S101  the lifespan has opened it
        failures: list[Exception] = []
        for target in self._targets:
            try:
                async with self._session.get(f"{target.url}/health") as response:
                    response.raise_for_status()
                    return
            except Exception as error:
                failures.append(error)
        raise failures[0]

    async def send(self, outgoing: Outgoing, patience: Patience) -> aiohttp.ClientResponse:
        """The upstream's answer as soon as its head is here; the caller reads and releases it.

        Raises:
            UpstreamAway, UpstreamTimeout, UpstreamBroken: no answer to pass on.
            Exception: what broke off the client's side, as the body has it.
        """
        started, outcome = time.perf_counter(), "aborted"
        try:
            response = await self._tried(outgoing, patience)
            outcome = "ok" if response.status < 400 else "refused"
            return response
        except Problem as error:
            outcome = _OUTCOMES.get(type(error), "aborted")
            raise
        finally:
            patience.seconds = math.inf
            self._observe[outcome](time.perf_counter() - started)

    async def _tried(self, outgoing: Outgoing, patience: Patience) -> aiohttp.ClientResponse:
        patience.since = asyncio.get_running_loop().time()
        patience.seconds = self._policy.timeout
        self._budget.deposit()
        targets = self._targets.copy()  # the call's own turn: others go on with theirs meanwhile
        self._targets.rotate(-1)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._sent(outgoing, patience, targets)
            except TimeoutError as error:  # aiohttp's for a connection is one too
                if not isinstance(error, _NEVER_SENT):
                    detail = f"{self.name} did not answer in time.{_doubt(outgoing)}"
                    raise UpstreamTimeout(detail) from None
                last: Exception = error
            except (aiohttp.ClientError, OSError) as error:
                last = error
            if attempt == _ATTEMPTS or not self._may_retry(outgoing, last):
                break
            self._metrics.retries.labels(self.name).inc()
        if isinstance(last, _NEVER_SENT):
            raise UpstreamAway(f"{self.name} cannot be reached.") from last
        raise UpstreamBroken(f"{self.name} broke off its answer.{_doubt(outgoing)}") from last

    def _may_retry(self, outgoing: Outgoing, error: Exception) -> bool:
        safe = isinstance(error, _NEVER_SENT) or outgoing.method in _HARMLESS_TWICE
        return safe and outgoing.body.replayable and self._budget.withdraw()

    async def _sent(
        self, outgoing: Outgoing, patience: Patience, targets: deque[_Target]
    ) -> aiohttp.ClientResponse:
        """One attempt, at the next address whose circuit lets it through.

        One that no connection came about with has had nothing of the request and cost it little:
        the next one is asked at once, and nothing is paid for that.
        """
        refusals: list[float] = []
        unreached: Exception | None = None
        for _ in range(len(targets)):
            target = targets[0]
            targets.rotate(-1)
            try:
                with target.circuit.guard() as guard:
                    response = await self._recorded(target, outgoing, patience)
                    if response.status >= 400:
                        guard.outcome = Outcome.REJECTED
                    return response
            except CircuitOpen as error:
                refusals.append(error.retry_after)
            except _NEVER_SENT as error:
                unreached = error
        if unreached is not None:
            raise unreached
        raise UpstreamAway(f"{self.name} is away for the moment.", retry_after=min(refusals))

    async def _recorded(
        self, target: _Target, outgoing: Outgoing, patience: Patience
    ) -> aiohttp.ClientResponse:
        """One attempt, until its answer begins, as a span that the upstream names as parent."""
        about = {"http.request.method": outgoing.method, "peer.service": self.name}
        with span(f"{outgoing.method} {self.name}", SpanKind.CLIENT, about) as work:
            outgoing.headers.update(trace_headers())
            response = await self._exchanged(target, outgoing, patience)
            work.set_attribute("http.response.status_code", response.status)
            return response

    async def _exchanged(
        self, target: _Target, outgoing: Outgoing, patience: Patience
    ) -> aiohttp.ClientResponse:
        assert self._session is not None  # noqa: S101  the lifespan has opened it
        body = outgoing.body
        try:
            response = await self._session.request(
                outgoing.method,
                URL(target.url + outgoing.target, encoded=True),
                headers=outgoing.headers,
                data=body.content(),
                allow_redirects=False,
            )
        except asyncio.CancelledError:
            if not patience.was_late():
                raise
            raise TimeoutError from None
        except (aiohttp.ClientError, OSError):
            if body.failure is not None:
                raise body.failure from None  # the client's doing, and no vote on the upstream
            raise
        if not 200 <= response.status <= 599 or not is_clean(response.raw_headers):
            response.close()
            raise aiohttp.ClientPayloadError("its head is none that may be passed on")
        return response


def is_refused_connection(error: BaseException | None) -> bool:
    """Return whether the address refused the connection, or its host name is unknown.

    Both happen while the upstream restarts, and both cost almost no time.
    """
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return True
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError
    )


def _is_silence(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ClientError | OSError)


def _is_long_silence(error: BaseException) -> bool:
    """Silence that costs the caller time.

    Where there are other addresses a refused connection is none: it is a restart more often than
    not, and an open circuit would keep calls away from who is back while another restarts.
    """
    return _is_silence(error) and not is_refused_connection(error)


def _doubt(outgoing: Outgoing) -> str:
    return "" if outgoing.method in _HARMLESS_TWICE else " Whether it acted is not known."


_OUTCOMES: dict[type[Problem], str] = {
    UpstreamAway: Reason.CONNECTION.value,
    UpstreamTimeout: Reason.TIMEOUT.value,
    UpstreamBroken: Reason.BAD_ANSWER.value,
}
