"""What running the gateway takes: its upstreams by the settings, and its metrics, not for all."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from prometheus_client import CollectorRegistry, Gauge
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app.config import Settings
from app.errors import NothingHere
from app.headers import FORWARDED, RETURNED
from app.rate_limiter import Shared
from app.upstreams import Upstream, UpstreamPolicy
from chassis.http_client.breaker import BreakerPolicy
from chassis.observability.metrics import exposition
from chassis.problems import problem_response

_CORS: Mapping[str, Any] = {
    "allow_methods": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    "allow_headers": (
        *FORWARDED,
        "Authorization",
        "X-Request-ID",
        "baggage",
        "traceparent",
        "tracestate",
    ),
    "expose_headers": (*RETURNED, "RateLimit", "RateLimit-Policy", "X-Request-ID", "X-Trace-Id"),
}
"""What a page of a storefront may send and read; its origin is a setting."""


class Cors(CORSMiddleware):
    """Starlette's, whose refusal of a preflight is a problem document here."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(app, allow_origins=origins, **_CORS)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        detail = bytes(response.body).decode()
        return problem_response(400, f"{detail}.", instance="", headers={"Vary": "Origin"})


def with_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Let the pages of the origins in the settings call the app; without any, none may."""
    return Cors(app, settings.cors_origins) if settings.cors_origins else app


def upstreams_of(settings: Settings, registry: CollectorRegistry) -> dict[str, Upstream]:
    """The four services, by the name that the role table calls them."""
    in_hand = Gauge(
        "upstream_calls_in_hand", "Calls that have not ended yet", ["target"], registry=registry
    )
    breaker = BreakerPolicy(
        failures_in_a_row=settings.circuit_failures,
        rate_calls=4 * settings.circuit_failures,  # half of them failed, or more: it opens, too
        reset_timeout=settings.circuit_reset_seconds,
    )
    usual, patient = (
        UpstreamPolicy(timeout, settings.upstream_concurrency, breaker)
        for timeout in (settings.upstream_timeout, settings.upstream_timeout_ai)
    )
    rows = {
        "product-service": (settings.product_service_url, usual),
        "order-service": (settings.order_service_url, usual),
        "inventory-service": (settings.inventory_service_url, usual),
        "ai-service": (settings.ai_service_url, patient),
    }
    return {
        name: Upstream(name, urls, policy, registry, in_hand)
        for name, (urls, policy) in rows.items()
    }


def private_metrics_router(registry: CollectorRegistry, token: str) -> APIRouter:
    """`/metrics` for who brings the scrape token; for all others there is nothing there."""
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", include_in_schema=False)
    async def metrics(
        authorization: Annotated[str, Header()] = "", accept: Annotated[str, Header()] = ""
    ) -> Response:
        given = authorization.encode("utf-8", "replace")
        if not token or not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise NothingHere(NothingHere.example)
        return exposition(registry, accept)

    return router


def shared_by_gateways(settings: Settings) -> Shared | None:
    """The count of all gateways together, where there are several."""
    if settings.rate_limit_storage_uri.startswith("memory:"):
        return None
    from app.shared_rate_limiter import (
        SharedWindows,  # only here: 19 MB that one gateway does without
    )

    return SharedWindows(settings.rate_limit_storage_uri, settings.rate_limit_storage_timeout)
