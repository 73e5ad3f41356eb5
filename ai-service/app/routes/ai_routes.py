"""HTTP routes of the assistant: parse, call one service method, answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from app.dependencies import ChatAssistant, MayUseModel, Recommendations, WantsStream
from app.routes.sse import chat_out, server_sent
from app.schemas.ai import (
    Category,
    ChatIn,
    ChatOut,
    ProductName,
    RecommendationsOut,
    SuggestIn,
    SuggestOut,
)
from app.services.answer import OFFLINE
from chassis.app.json_body import ExactJsonRoute, max_body
from chassis.problems import problem_responses

router = APIRouter(prefix="/api/ai", tags=["assistant"], route_class=ExactJsonRoute)

_STREAM = (
    'event: token\ndata: {"text": "Hello! "}\n\n'
    'event: done\ndata: {"reply": "Hello!", "source": "offline", "products": []}\n\n'
)
_CHAT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"example": _STREAM}}},
    **problem_responses(),
}


@router.post(
    "/chat",
    response_model=ChatOut,
    summary="Talk about the catalogue",
    responses=_CHAT_RESPONSES,
    openapi_extra=max_body(524_288),  # clients may send a long history; only its end is used
)
async def chat(
    body: ChatIn, assistant: ChatAssistant, ask_model: MayUseModel, streaming: WantsStream
) -> ChatOut | Response:
    """Answer from the catalogue; a reply names no product that is not in it.

    With `Accept: text/event-stream` the reply is streamed as server-sent events: `token` events
    with `{"text": ...}`, then one `done` event with the whole JSON answer. The texts of all tokens
    together are its `reply`. The server keeps no conversation: send earlier turns as `history`,
    oldest first.
    """
    history = body.history or ()
    if streaming:
        pieces = assistant.stream(body.message, history, ask_model)
        return StreamingResponse(server_sent(pieces), media_type="text/event-stream", headers=_LIVE)
    answer = await assistant.chat(body.message, history, ask_model)
    return chat_out(answer)


_LIVE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get(
    "/recommendations",
    response_model=RecommendationsOut,
    summary="Recommend products",
    responses=problem_responses(),
)
async def recommendations(
    recommender: Recommendations,
    product_name: Annotated[ProductName | None, Query(examples=["Desk Lamp Halo"])] = None,
    category: Annotated[
        Category | None, Query(description="only products of this category")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 5,
) -> RecommendationsOut:
    """Recommend similar and co-purchased products, best first; without a name, popular products.

    The named product is never recommended.
    """
    found = recommender(product_name, category, limit)
    return RecommendationsOut(recommendations=found, source=OFFLINE)


@router.post(
    "/suggest",
    response_model=SuggestOut,
    summary="Search in plain language",
    responses=problem_responses(),
)
async def suggest(body: SuggestIn, assistant: ChatAssistant, ask_model: MayUseModel) -> SuggestOut:
    """Return the products that match a query such as "a gift under 50", best first."""
    answer = await assistant.suggest(body.query, ask_model)
    return SuggestOut(result=answer.text, products=list(answer.products), source=answer.source)
