"""FastAPI dependencies of the routes, and the readiness checks of the service."""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address

from app.config import Settings
from app.schemas.product import Product
from app.services.assistant import Assistant
from chassis.app.health import Dependency

Recommend = Callable[[str | None, str | None, int], list[Product]]


def rate_limit_key(request: Request) -> str:
    """Return a digest of the caller's token, or of its address if it sent no token."""
    caller = request.headers.get("authorization") or get_remote_address(request)
    return hashlib.sha256(caller.encode()).hexdigest()[:32]


def model_rate_limiter(settings: Settings) -> Callable[[Request], Awaitable[bool]]:
    """Return a function that counts a request and tells whether it may use the model.

    A caller above MODEL_RATE_LIMIT gets a template answer instead of 429, because each model call
    costs money.
    """
    logging.getLogger("slowapi").setLevel(logging.ERROR)  # slowapi logs the caller's key
    limiter = Limiter(key_func=rate_limit_key, storage_uri="memory://")

    @limiter.shared_limit(settings.model_rate_limit, scope="model")
    async def count(request: Request) -> None:
        """Do nothing: the decorator counts the call."""

    async def may_use_model(request: Request) -> bool:
        try:
            await count(request=request)
        except RateLimitExceeded:
            return False
        return True

    return may_use_model


async def _may_use_model(request: Request) -> bool:
    state = request.app.state
    return bool(state.model.enabled and await state.may_use_model(request))


async def _assistant(request: Request) -> Assistant:
    assistant: Assistant = request.app.state.assistant
    return assistant


async def _recommend(request: Request) -> Recommend:
    state = request.app.state

    def recommend(product_name: str | None, category: str | None, limit: int) -> list[Product]:
        index = state.catalogue.current()
        if index is None:
            return []
        found: list[Product] = state.recommender.recommend(index, product_name, category, limit)
        return found

    return recommend


async def _wants_stream(request: Request) -> bool:
    """Return True if the Accept header lists text/event-stream without q=0."""
    for part in ",".join(request.headers.getlist("accept")).split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind == "text/event-stream":
            return not any(p.replace(" ", "") in ("q=0", "q=0.0") for p in parameters)
    return False


ChatAssistant = Annotated[Assistant, Depends(_assistant)]
MayUseModel = Annotated[bool, Depends(_may_use_model)]
Recommendations = Annotated[Recommend, Depends(_recommend)]
WantsStream = Annotated[bool, Depends(_wants_stream)]


def dependencies(app: FastAPI) -> tuple[Dependency, ...]:
    """Return the readiness checks. None is critical: without them the service still answers."""
    state = app.state
    rows = [
        Dependency("product-service", state.catalogue.probe),
        Dependency("kafka", state.consumer.probe),
    ]
    if state.model.enabled:
        rows.append(Dependency("model", state.model.probe))
    return tuple(rows)
