"""At the door: who is it, how often have they asked, and is there such an address at all.

Every request passes here but those for /health: a refused one, and one to an address that does not
exist, count against the limit like any other.
"""

import logging
import re
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.client_identity import Caller
from app.errors import AddressRefused, IdentityProviderAway, QuotaExceeded, Unauthenticated
from app.headers import RawHeaders, values_of
from app.policy import Access
from app.rate_limiter import Quota, Standing
from app.routing import Address, Directory, MalformedAddress, check_query
from chassis.observability.tracing import trace_id
from chassis.problems import Problem, instance_of, render
from chassis.security.token_verifier import (
    InvalidToken,
    TokenVerifier,
    UnverifiableToken,
    bearer_token,
)

log = logging.getLogger(__name__)

GROUPS = frozenset({"products", "orders", "inventory", "ai"})
_NOWHERE = Address()
_FREE = frozenset({"/health", "/health/ready", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_HARDENING = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(slots=True)
class Visit:
    """One request at the door: its headers as they came, and what was found out about it."""

    headers: RawHeaders
    request_id: str
    caller: Caller
    address: Address = _NOWHERE
    refusal: Problem | None = None

    @property
    def group(self) -> str:
        """The route group that it counts in, whether or not its address exists."""
        return self.address.area if self.address.area in GROUPS else "other"

    @property
    def is_personal(self) -> bool:
        """Whether no cache may keep the answer."""
        operation = self.address.operation
        public = operation is None or operation.access is Access.PUBLIC
        return not public or self.caller.token is not None


class Admission:
    """Pure ASGI: in front of the forwarder and of the gateway's own pages.

    Args:
        forwarder: gets what is below /api/.
        pages: gets all else.
    """

    def __init__(
        self,
        forwarder: ASGIApp,
        pages: ASGIApp,
        *,
        directory: Directory,
        verifier: TokenVerifier,
        quota: Quota,
        registry: CollectorRegistry,
    ) -> None:
        self._forwarder = forwarder
        self._pages = pages
        self._directory = directory
        self._verifier = verifier
        self._quota = quota
        self._limited = Counter(
            "rate_limited", "Requests refused with 429", ["group"], registry=registry
        )
        self._refused = Counter(
            "tokens_refused", "Requests whose token was refused", registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        headers: RawHeaders = list(scope["headers"])
        if scope["path"] in _FREE:
            await self._pages(scope, receive, _hardened(send, []))
            return
        visit = Visit(headers, _request_id(headers), Caller(_peer(scope)))
        self._locate(visit, scope)
        await self._identify(visit)
        standing = await self._quota.count(visit.group, visit.caller.key)
        extra = [
            (b"x-request-id", visit.request_id.encode("ascii")),
            *standing.headers(visit.group),
        ]
        answer = _hardened(send, extra, personal=visit.is_personal)
        if not standing.allowed:
            self._limited.labels(visit.group).inc()
            visit.refusal = _quota_exceeded(standing)
        if visit.refusal is None:
            if not visit.address.is_api:
                await self._pages(scope, receive, answer)
                return
            scope["gateway.visit"] = visit
            try:
                await self._forwarder(scope, receive, answer)
            except Problem as problem:
                visit.refusal = problem
        if visit.refusal is not None:
            await render(visit.refusal, instance_of(scope))(scope, receive, answer)

    def _locate(self, visit: Visit, scope: Scope) -> None:
        raw_path: bytes = scope.get("raw_path") or b""
        try:
            visit.address = self._directory.look_up(scope["method"], raw_path)
            check_query(scope["query_string"])
        except MalformedAddress as error:
            if raw_path != b"/":
                visit.refusal = AddressRefused(str(error))
        if visit.address.operation is not None:
            scope["route"] = visit.address.operation

    async def _identify(self, visit: Visit) -> None:
        try:
            token = bearer_token(values_of(visit.headers, b"authorization"))
            if token is not None:
                identity = await self._verifier.verify(token)
                visit.caller = Caller(visit.caller.address, identity, token)
        except UnverifiableToken:
            visit.refusal = IdentityProviderAway(IdentityProviderAway.example, retry_after=3)
        except InvalidToken as error:
            self._refused.inc()
            log.info("token refused", extra={"reason": error.reason})
            visit.refusal = Unauthenticated(error.detail, invalid=True)


def _quota_exceeded(standing: Standing) -> QuotaExceeded:
    return QuotaExceeded(
        f"No more than {standing.limit} for each caller; try again in {standing.seconds} seconds."
    )


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


def _request_id(headers: RawHeaders) -> str:
    """The caller's X-Request-ID where it is one, else the trace's id."""
    given = values_of(headers, b"x-request-id")
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return trace_id() or "none"


def _hardened(send: Send, extra: RawHeaders, *, personal: bool = False) -> Send:
    """Adds to every answer what browsers and caches must know, and how the caller stands."""

    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: RawHeaders = list(message.get("headers", ()))
            there = {name for name, _ in headers}
            headers += [pair for pair in _HARDENING if pair[0] not in there]
            if personal and _NO_STORE[0] not in there:
                headers.append(_NO_STORE)
            message["headers"] = headers + extra
        await send(message)

    return hardened
