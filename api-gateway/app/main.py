"""Build api-gateway: `python -m app` serves it, with the HTTP protocol of `protocol.py`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app.config import Settings
from app.cors import ProblemCORSMiddleware
from app.disconnect_watcher import DisconnectWatcher
from app.document_store import DocumentStore
from app.edge_middleware import EdgeMiddleware
from app.forwarding import Forwarder
from app.own_endpoints import install_own_endpoints, readiness_dependencies
from app.policy import TABLE
from app.rate_limiter import CallerRateLimiter
from app.routing import RouteTable
from app.upstreams import create_upstreams
from chassis.app.factory import NO_NATIVE_TELEMETRY
from chassis.app.head import HeadMiddleware
from chassis.app.middleware import RequestMiddleware
from chassis.observability.logging import configure_logging
from chassis.observability.metrics import new_registry
from chassis.observability.span_export import configure_tracing, span_export
from chassis.problems import install_problem_handlers
from chassis.security.token_verifier import TokenVerifier
from chassis.settings import load_settings


def create_app(settings: Settings | None = None, verifier: TokenVerifier | None = None) -> FastAPI:
    """Build the app.

    Args:
        verifier: with another clock, for tests.
    """
    settings = settings or load_settings(Settings)
    configure_logging(settings.service_name, settings.log_level)
    configure_tracing(settings, trust_parent=False)
    registry = new_registry()
    verifier = verifier or TokenVerifier(settings)
    rate_limiter = CallerRateLimiter(settings, registry)
    upstreams = create_upstreams(settings, registry)
    documents = DocumentStore(upstreams, settings.oidc_issuer)
    watcher = DisconnectWatcher()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with span_export(settings, registry), AsyncExitStack() as stack:
            stack.push_async_callback(verifier.aclose)
            stack.push_async_callback(rate_limiter.aclose)
            for upstream in upstreams.values():
                await upstream.open()
                stack.push_async_callback(upstream.aclose)
            stack.push_async_callback(documents.aclose)
            watcher.start()
            stack.push_async_callback(watcher.aclose)
            yield

    app = FastAPI(
        title="api-gateway",
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,  # /openapi.json is the merged document of all services
        docs_url=None,  # install_api_page serves the page
        redoc_url=None,
        telemetry=NO_NATIVE_TELEMETRY,
    )
    # The last middleware added is the outermost. EdgeMiddleware forwards what is below /api/.
    app.add_middleware(HeadMiddleware)
    app.add_middleware(
        EdgeMiddleware,
        forwarder=Forwarder(upstreams, watcher, settings),
        routes=RouteTable(TABLE),
        verifier=verifier,
        rate_limiter=rate_limiter,
        registry=registry,
    )
    if settings.cors_origins:
        app.add_middleware(ProblemCORSMiddleware, origins=settings.cors_origins)
    # request_body.py limits bodies, so that its refusals have the headers of every response.
    app.add_middleware(RequestMiddleware, registry=registry, max_body_bytes=None)
    install_problem_handlers(app)
    dependencies = readiness_dependencies(upstreams, verifier, rate_limiter)
    install_own_endpoints(app, settings, documents, dependencies, registry)
    return app


app = create_app()
