"""The gateway's app called in this event loop, with a verifier on the test's clocks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Message

from app.config import Settings
from app.main import create_app
from chassis.security.token_verifier import TokenVerifier
from tests.gateways import Reply


class Inside:
    """The app with an open lifespan."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def ask(self, path: str, *authorization: str | bytes) -> Reply:
        """Send a GET with these raw Authorization headers."""
        values = [v.encode("utf-8") if isinstance(v, str) else v for v in authorization]
        answer: list[Message] = []

        incoming: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if not incoming:
                await asyncio.Event().wait()  # the client stays connected
            return incoming.pop()

        async def send(message: Message) -> None:
            answer.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"gateway"), *((b"authorization", v) for v in values)],
            "client": ("127.0.0.1", 4711),
            "server": ("127.0.0.1", 9000),
        }
        await self._app(scope, receive, send)
        head, *parts = answer
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in head["headers"]]
        return Reply(head["status"], headers, b"".join(part.get("body", b"") for part in parts))


@asynccontextmanager
async def inside(settings: Settings, verifier: TokenVerifier) -> AsyncIterator[Inside]:
    """Keep the app's lifespan open during the block."""
    app = create_app(settings, verifier=verifier)
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    outgoing: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}

    async def live() -> None:
        await app(scope, incoming.get, outgoing.put)

    life = asyncio.create_task(live())
    await incoming.put({"type": "lifespan.startup"})
    assert (await outgoing.get())["type"] == "lifespan.startup.complete"
    yield Inside(app)
    await incoming.put({"type": "lifespan.shutdown"})
    assert (await outgoing.get())["type"] == "lifespan.shutdown.complete"
    await life
