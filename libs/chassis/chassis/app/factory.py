"""The web app of a service: what is the same in each of them."""

from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Lifespan

from chassis.app.docs import install_docs
from chassis.app.head import HeadMiddleware
from chassis.app.middleware import RequestMiddleware
from chassis.problems import install_problem_handlers
from chassis.settings import ServiceSettings

# Requests are told of by RequestMiddleware. FastAPI would look for other providers at each of them.
_NO_OTHER_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}


def service_app(
    settings: ServiceSettings, registry: CollectorRegistry, lifespan: Lifespan[Any], **about: Any
) -> FastAPI:
    """An app with the one middleware, errors as problem documents, and the page at `/docs`.

    Args:
        about: FastAPI's own arguments.
    """
    app = FastAPI(
        **{"title": settings.service_name, "version": "1.0.0"} | about,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would name this host to callers of the gateway
        telemetry=_NO_OTHER_TELEMETRY,
    )
    app.add_middleware(HeadMiddleware)  # the last that is added is the outermost
    app.add_middleware(RequestMiddleware, registry=registry, max_body_bytes=settings.max_body_bytes)
    install_problem_handlers(app)
    install_docs(app)
    return app


def add_routes(app: FastAPI, *routers: APIRouter) -> None:
    """As routes of the app itself, and its first.

    Each that is tried before costs, and FastAPI looks up one of an included router twice.
    """
    app.router.routes[:0] = [route for router in routers for route in router.routes]
