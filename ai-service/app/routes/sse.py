"""Server-sent events of a chat reply."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from app.schemas.ai import ChatOut
from app.services.answer import Answer


async def server_sent(pieces: AsyncGenerator[str | Answer]) -> AsyncGenerator[bytes]:
    """Send a `token` event for each piece of text, then `done` with the whole answer.

    When the client disconnects, this generator and its source are closed, which cancels the call
    to the model.
    """
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Answer):
                yield _event("done", chat_out(piece).model_dump_json())
            else:
                yield _event("token", json.dumps({"text": piece}, ensure_ascii=False))


def chat_out(answer: Answer) -> ChatOut:
    return ChatOut(reply=answer.text, source=answer.source, products=list(answer.products))


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
