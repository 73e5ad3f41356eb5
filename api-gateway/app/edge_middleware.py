"""Route, authenticate and rate-limit every request before it is forwarded or served.

Every request except `/health`, `/health/ready` and `/metrics` counts against the caller's limit,
also when it is refused or when its path names no operation.
"""

import logging
import re
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.client_identity import Caller
from app.errors import (
    IdentityProviderUnavailable,
    InvalidAddress,
    QuotaExceeded,
    Unauthenticated,
)
from app.headers import RawHeaders, header_values
from app.policy import Access
from app.rate_limiter import CallerRateLimiter, RateLimitStatus
from app.routing import MalformedAddress, RouteMatch, RouteTable, check_query
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
_UNLIMITED = frozenset({"/health", "/health/ready", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(slots=True)
class EdgeRequest:
    """One request: its headers as received, and what the middleware found out.

    Attributes:
        problem: the response, if the request is refused.
    """

    headers: RawHeaders
    request_id: str
    caller: Caller
    match: RouteMatch = RouteMatch()
    problem: Problem | None = None

    @property
    def rate_limit_group(self) -> str:
        """The route group that the request counts in, whether or not its operation exists."""
        return self.match.area if self.match.area in GROUPS else "other"

    @property
    def is_personal(self) -> bool:
        """Whether caches must not store the response."""
        operation = self.match.operation
        is_public = operation is None or operation.access is Access.PUBLIC
        return not is_public or self.caller.token is not None


class EdgeMiddleware:
    """ASGI middleware that sends paths below `/api/` to the forwarder, and others to the app.

    Args:
        app: serves the gateway's own endpoints.
        forwarder: serves `/api/`; finds the EdgeRequest in `scope["gateway.request"]`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        forwarder: ASGIApp,
        routes: RouteTable,
        verifier: TokenVerifier,
        rate_limiter: CallerRateLimiter,
        registry: CollectorRegistry,
    ) -> None:
        self._app = app
        self._forwarder = forwarder
        self._routes = routes
        self._verifier = verifier
        self._rate_limiter = rate_limiter
        self._limited = Counter(
            "rate_limited", "Requests refused with 429", ["group"], registry=registry
        )
        self._refused_tokens = Counter(
            "tokens_refused", "Requests whose token was refused", registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in _UNLIMITED:
            await self._app(scope, receive, _with_headers(send, []))
            return
        headers: RawHeaders = list(scope["headers"])
        request = EdgeRequest(headers, _request_id(headers), Caller(_peer_address(scope)))
        self._route(request, scope)
        await self._authenticate(request)
        group = request.rate_limit_group
        status = await self._rate_limiter.hit(group, request.caller.rate_limit_key)
        if not status.allowed:
            self._limited.labels(group).inc()
            request.problem = _quota_exceeded(status)
        own_headers = [(b"x-request-id", request.request_id.encode("ascii"))]
        own_headers += status.headers(group)
        send = _with_headers(send, own_headers, is_personal=request.is_personal)
        if request.problem is None:
            if not request.match.is_api:
                await self._app(scope, receive, send)
                return
            scope["gateway.request"] = request
            try:
                await self._forwarder(scope, receive, send)
            except Problem as problem:
                request.problem = problem
        if request.problem is not None:
            await render(request.problem, instance_of(scope))(scope, receive, send)

    def _route(self, request: EdgeRequest, scope: Scope) -> None:
        raw_path: bytes = scope.get("raw_path") or b""
        try:
            request.match = self._routes.match(scope["method"], raw_path)
            check_query(scope["query_string"])
        except MalformedAddress as error:
            if raw_path != b"/":
                request.problem = InvalidAddress(str(error))
        if request.match.operation is not None:
            scope["route"] = request.match.operation

    async def _authenticate(self, request: EdgeRequest) -> None:
        try:
            token = bearer_token(header_values(request.headers, b"authorization"))
            if token is not None:
                identity = await self._verifier.verify(token)
                request.caller = Caller(request.caller.address, identity, token)
        except UnverifiableToken:
            request.problem = IdentityProviderUnavailable(
                IdentityProviderUnavailable.example, retry_after=3
            )
        except InvalidToken as error:
            self._refused_tokens.inc()
            log.info("token refused", extra={"reason": error.reason})
            request.problem = Unauthenticated(error.detail, invalid=True)


def _quota_exceeded(status: RateLimitStatus) -> QuotaExceeded:
    return QuotaExceeded(
        f"No more than {status.limit} for each caller; try again in {status.reset_seconds} seconds."
    )


def _peer_address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


def _request_id(headers: RawHeaders) -> str:
    """Return the caller's X-Request-ID if it is valid, else the trace id."""
    given = header_values(headers, b"x-request-id")
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return trace_id() or "none"


def _with_headers(send: Send, own_headers: RawHeaders, *, is_personal: bool = False) -> Send:
    """Add the security headers and the gateway's own headers to the response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: RawHeaders = list(message.get("headers", ()))
            present = {name for name, _ in headers}
            headers += [pair for pair in _SECURITY_HEADERS if pair[0] not in present]
            if is_personal and _NO_STORE[0] not in present:
                headers.append(_NO_STORE)
            message["headers"] = headers + own_headers
        await send(message)

    return send_with_headers
