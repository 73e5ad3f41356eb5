"""The HTTP edge of the assistant: parse, call one service method, answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from app.dependencies import Helper, MayAskModel, Recommendations, WantsStream
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
    openapi_extra=max_body(524_288),  # a long history; its last turns are all that is used
)
async def chat(
    body: ChatIn, assistant: Helper, ask_model: MayAskModel, streaming: WantsStream
) -> ChatOut | Response:
    """Answers from the catalogue, and names nothing that is not in it.

    With `Accept: text/event-stream` the reply comes as server-sent events: `token` with
    `{"text": ...}` each, at the end `done` with the whole JSON answer; the tokens together are its
    `reply`. Send earlier turns as `history`, oldest first: nothing is kept here.
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
    summary="What goes with a product",
    responses=problem_responses(),
)
async def recommendations(
    recommending: Recommendations,
    product_name: Annotated[ProductName | None, Query(examples=["Desk Lamp Halo"])] = None,
    category: Annotated[Category | None, Query(description="only products of this one")] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 5,
) -> RecommendationsOut:
    """By likeness and by what is bought together, best first; without a name, what is popular.

    The product that was asked about is never among them.
    """
    found = recommending(product_name, category, limit)
    return RecommendationsOut(recommendations=found, source=OFFLINE)


@router.post(
    "/suggest",
    response_model=SuggestOut,
    summary="Search in plain language",
    responses=problem_responses(),
)
async def suggest(body: SuggestIn, assistant: Helper, ask_model: MayAskModel) -> SuggestOut:
    """ "a gift under 50", "something warm, not wool": what fits, best first."""
    answer = await assistant.suggest(body.query, ask_model)
    return SuggestOut(result=answer.text, products=list(answer.products), source=answer.source)
