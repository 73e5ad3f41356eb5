"""Build api-gateway, served by `python -m app`; requests below /api/ skip FastAPI's layers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from app.config import Settings
from app.disconnect_watcher import Watch
from app.document_store import DocumentStore
from app.edge_middleware import Admission
from app.forwarding import Forwarder
from app.operations import shared_by_gateways, upstreams_of, with_cors
from app.own_endpoints import needs_of, pages_of
from app.policy import TABLE
from app.rate_limiter import Quota
from app.routing import Directory
from chassis.app.head import HeadMiddleware
from chassis.app.middleware import RequestMiddleware
from chassis.observability.logging import configure_logging
from chassis.observability.metrics import new_registry
from chassis.observability.span_export import configure_tracing, span_export
from chassis.security.token_verifier import TokenVerifier
from chassis.settings import load_settings


def create_app(settings: Settings | None = None, verifier: TokenVerifier | None = None) -> ASGIApp:
    """The ASGI app; with a verifier of its own (another clock) in tests."""
    settings = settings or load_settings(Settings)
    configure_logging(settings.service_name, settings.log_level)
    configure_tracing(settings, trust_parent=False)
    registry, verifier = new_registry(), verifier or TokenVerifier(settings)
    quota = Quota(settings, registry, shared_by_gateways(settings))
    upstreams = upstreams_of(settings, registry)
    documents, watch = DocumentStore(upstreams, settings.oidc_issuer), Watch()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with span_export(settings, registry), AsyncExitStack() as stack:
            for close in (verifier.aclose, quota.aclose, watch.aclose):  # in reverse, at the end
                stack.push_async_callback(close)
            for upstream in upstreams.values():
                stack.push_async_callback(upstream.aclose)
                await upstream.open()
            stack.push_async_callback(documents.aclose)
            watch.start()
            yield

    pages = pages_of(settings, lifespan, documents, needs_of(upstreams, verifier, quota), registry)
    door = Admission(
        Forwarder(upstreams, watch, settings),
        HeadMiddleware(pages),
        directory=Directory(TABLE),
        verifier=verifier,
        quota=quota,
        registry=registry,
    )
    app = with_cors(door, settings)
    # request_body.py limits bodies, so that its refusals have the headers of every response.
    return RequestMiddleware(app, registry=registry, max_body_bytes=None)


app = create_app()
