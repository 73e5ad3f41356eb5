"""Build the FastAPI app of a service."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Lifespan

from chassis.app.database_errors import DATABASE_PROBLEMS
from chassis.app.docs import install_docs
from chassis.app.head import HeadMiddleware
from chassis.app.middleware import RequestMiddleware
from chassis.problems import install_problem_handlers
from chassis.settings import ServiceSettings

NO_NATIVE_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI's `telemetry` argument: RequestMiddleware makes the span of a request."""


def service_app(
    settings: ServiceSettings,
    registry: CollectorRegistry,
    lifespan: Lifespan[Any],
    *,
    larger_bodies: Mapping[str, int] | None = None,
    **about: Any,
) -> FastAPI:
    """Return an app with the request middleware, problem documents, and the page at `/docs`.

    Args:
        larger_bodies: by path, the bytes of a body that may be larger than
            `settings.max_body_bytes`.
        about: further arguments of `FastAPI`.
    """
    app = FastAPI(
        **{"title": settings.service_name, "version": "1.0.0"} | about,
        lifespan=lifespan,
        docs_url=None,  # install_docs serves the page
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name this host to callers of the gateway
        telemetry=NO_NATIVE_TELEMETRY,
    )
    app.add_middleware(HeadMiddleware)  # the last one added is the outermost
    app.add_middleware(
        RequestMiddleware,
        registry=registry,
        max_body_bytes=settings.max_body_bytes,
        larger_bodies=larger_bodies,
    )
    install_problem_handlers(app, DATABASE_PROBLEMS)
    install_docs(app)
    return app


def add_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Add the routes to the app itself, in front of its other routes.

    FastAPI matches an included router's routes twice, and tries each route in turn.
    """
    app.router.routes[:0] = [route for router in routers for route in router.routes]
