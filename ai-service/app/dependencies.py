"""What routes ask for, each as an annotated type, and what the service depends on."""

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


def caller_of(request: Request) -> str:
    """Whose budget a question counts against: the token's, else the address's. Kept as a digest."""
    token = request.headers.get("authorization")
    who = token or get_remote_address(request)
    return hashlib.sha256(who.encode()).hexdigest()[:32]


def model_budget(settings: Settings) -> Callable[[Request], Awaitable[bool]]:
    """A function that says whether one more question of this caller may go to the model.

    The model costs money by the question. Beyond the limit the answer is offline, not refused.
    """
    logging.getLogger("slowapi").setLevel(logging.ERROR)  # it would log each caller's key
    limiter = Limiter(key_func=caller_of, storage_uri="memory://")

    @limiter.shared_limit(settings.model_rate_limit, scope="model")
    async def spend(request: Request) -> None:
        """Counted by the decorator."""

    async def may_ask(request: Request) -> bool:
        try:
            await spend(request=request)
        except RateLimitExceeded:
            return False
        return True

    return may_ask


async def _may_ask_model(request: Request) -> bool:
    state = request.app.state
    return bool(state.model.enabled and await state.may_ask(request))


async def _assistant(request: Request) -> Assistant:
    assistant: Assistant = request.app.state.assistant
    return assistant


async def _recommend(request: Request) -> Recommend:
    state = request.app.state

    def recommend(product_name: str | None, category: str | None, limit: int) -> list[Product]:
        index = state.catalogue.current()
        if index is None:
            return []
        found: list[Product] = state.recommending.recommend(index, product_name, category, limit)
        return found

    return recommend


async def _wants_stream(request: Request) -> bool:
    """Whether the Accept header names server-sent events, and does not refuse them with q=0."""
    for part in ",".join(request.headers.getlist("accept")).split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind == "text/event-stream":
            return not any(p.replace(" ", "") in ("q=0", "q=0.0") for p in parameters)
    return False


Helper = Annotated[Assistant, Depends(_assistant)]
MayAskModel = Annotated[bool, Depends(_may_ask_model)]
Recommendations = Annotated[Recommend, Depends(_recommend)]
WantsStream = Annotated[bool, Depends(_wants_stream)]


def dependencies(app: FastAPI) -> tuple[Dependency, ...]:
    """None is critical: without any of them there is still an honest answer."""
    state = app.state
    rows = [
        Dependency("product-service", state.catalogue.probe),
        Dependency("kafka", state.consumer.probe),
    ]
    if state.model.enabled:
        rows.append(Dependency("model", state.model.probe))
    return tuple(rows)
