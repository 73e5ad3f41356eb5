"""The gateway's own endpoints: start page, API documentation, health and metrics."""

import hmac
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Response
from prometheus_client import CollectorRegistry

from app.api_page import install_api_page
from app.config import Settings
from app.document_store import DocumentStore
from app.errors import ResourceNotFound
from app.rate_limiter import CallerRateLimiter
from app.start_page import install_start_page
from app.upstreams import Upstream
from chassis.app.health import Dependency, health_router
from chassis.observability.metrics import exposition
from chassis.security.token_verifier import TokenVerifier


def readiness_dependencies(
    upstreams: Mapping[str, Upstream], verifier: TokenVerifier, rate_limiter: CallerRateLimiter
) -> list[Dependency]:
    """Return what `/health/ready` reports. None is critical: other requests are still served."""
    dependencies = [Dependency(name, upstream.probe) for name, upstream in upstreams.items()]
    dependencies.append(Dependency("identity-provider", verifier.probe))
    if rate_limiter.shared_store is not None:
        dependencies.append(Dependency("rate-limit-store", rate_limiter.shared_store.probe))
    return dependencies


def install_own_endpoints(
    app: FastAPI,
    settings: Settings,
    documents: DocumentStore,
    dependencies: list[Dependency],
    registry: CollectorRegistry,
) -> None:
    """Add every endpoint that no upstream serves."""
    install_start_page(app, settings)
    install_api_page(app, documents, settings.oidc_issuer)
    app.include_router(health_router(settings.service_name, dependencies, {"auth_enabled": True}))
    app.include_router(_metrics_router(registry, settings.metrics_token))


def _metrics_router(registry: CollectorRegistry, token: str) -> APIRouter:
    """`/metrics` for requests with the scrape token; 404 for all others."""
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", include_in_schema=False)
    async def metrics(
        authorization: Annotated[str, Header()] = "", accept: Annotated[str, Header()] = ""
    ) -> Response:
        given = authorization.encode("utf-8", "replace")
        if not token or not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise ResourceNotFound(ResourceNotFound.example)
        return exposition(registry, accept)

    return router
