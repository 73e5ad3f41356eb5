"""What the gateway serves itself: the page of all services, how it is, its metrics."""

from collections.abc import Mapping

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Lifespan

from app.api_page import install_api_page
from app.config import Settings
from app.document_store import DocumentStore
from app.operations import private_metrics_router
from app.rate_limiter import Quota
from app.start_page import install_start_page
from app.upstreams import Upstream
from chassis.app.factory import NO_NATIVE_TELEMETRY
from chassis.app.health import Dependency, health_router
from chassis.problems import install_problem_handlers
from chassis.security.token_verifier import TokenVerifier


def needs_of(
    upstreams: Mapping[str, Upstream], verifier: TokenVerifier, quota: Quota
) -> list[Dependency]:
    """None is critical: who needs nothing of what is away is served."""
    needs = [Dependency(name, upstream.probe) for name, upstream in upstreams.items()]
    needs.append(Dependency("identity-provider", verifier.probe))
    if quota.shared is not None:
        needs.append(Dependency("rate-limit-store", quota.shared.probe))
    return needs


def pages_of(
    settings: Settings,
    lifespan: Lifespan[FastAPI],
    documents: DocumentStore,
    needs: list[Dependency],
    registry: CollectorRegistry,
) -> FastAPI:
    """The FastAPI app for all that is not below /api/."""
    pages = FastAPI(
        title="api-gateway",
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry=NO_NATIVE_TELEMETRY,
    )
    install_problem_handlers(pages)
    install_start_page(pages, settings)
    install_api_page(pages, documents, settings.oidc_issuer)
    pages.include_router(health_router(settings.service_name, needs, {"auth_enabled": True}))
    pages.include_router(private_metrics_router(registry, settings.metrics_token))
    return pages
