"""api-gateway, put together: `python -m app` serves it.

What is below /api/ never meets FastAPI: its layers cost more than the forwarding itself.
"""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from app.addresses import Directory
from app.admission import Admission
from app.api_page import install_api_page
from app.config import Settings
from app.document_store import DocumentStore
from app.forwarding import Forwarder
from app.operations import Cors, private_metrics_router, upstreams_of
from app.policy import TABLE
from app.quota import Quota
from app.watch import Watch
from chassis.auth import TokenVerifier
from chassis.health import Dependency, health_router
from chassis.logging import configure_logging
from chassis.metrics import new_registry
from chassis.middleware import RequestMiddleware
from chassis.problems import install_problem_handlers


def create_app(
    settings: Settings | None = None, *, verifier: TokenVerifier | None = None
) -> ASGIApp:
    """The ASGI app; with a verifier of its own (another clock) in tests."""
    settings = settings or Settings()
    configure_logging(settings.service_name, settings.log_level)
    registry = new_registry()
    verifier = verifier or TokenVerifier(settings)
    quota = Quota(settings, registry)
    upstreams = upstreams_of(settings, registry)
    documents = DocumentStore(upstreams, settings.oidc_issuer)
    watch = Watch()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:  # closed in reverse; nobody has to be there yet
            for close in (verifier.aclose, quota.aclose, watch.aclose):
                stack.push_async_callback(close)
            for upstream in upstreams.values():
                stack.push_async_callback(upstream.aclose)
                await upstream.open()
            stack.push_async_callback(documents.aclose)
            watch.start()
            gc.collect()
            gc.freeze()
            yield

    pages = FastAPI(
        title="api-gateway", lifespan=lifespan, redirect_slashes=False, openapi_url=None
    )
    install_problem_handlers(pages)
    install_api_page(pages, documents, settings.oidc_issuer)
    needs = [Dependency(name, upstream.probe) for name, upstream in upstreams.items()]
    needs.append(Dependency("identity-provider", verifier.probe))
    if quota.shared is not None:
        needs.append(Dependency("rate-limit-store", quota.shared.probe))
    pages.include_router(health_router(settings.service_name, needs, {"auth_enabled": True}))
    pages.include_router(private_metrics_router(registry, settings.metrics_token))
    door: ASGIApp = Admission(
        Forwarder(upstreams, watch, settings),
        pages,
        directory=Directory(TABLE),
        verifier=verifier,
        quota=quota,
        registry=registry,
    )
    if settings.cors_origins:
        door = Cors(door, settings.cors_origins)
    # bodies.py bounds them: a refusal there counts, and has the headers that every answer has.
    return RequestMiddleware(door, registry=registry, max_body_bytes=sys.maxsize)
