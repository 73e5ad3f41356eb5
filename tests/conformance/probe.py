"""Call a service's app without a server. Run by the service's own interpreter, in its folder.

Reads a JSON list of [method, target, headers, body length] from standard input, and prints a list
of [status, headers, body]. The lifespan is not started, so no dependency is available.
"""

import asyncio
import importlib
import json
import sys
from typing import Any


async def call(app: Any, method: str, target: str, headers: dict[str, str], length: int) -> Any:
    """Send one ASGI request with the body in two pieces."""
    path, _, query = target.partition("?")
    own = {"host": "localhost", **headers, **({"content-length": str(length)} if length else {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in own.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    half = b"x" * (length // 2)
    pieces = [(half, True), (half + b"x" * (length % 2), False)]
    answer: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        body, more = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(message: dict[str, Any]) -> None:
        answer["body"] += message.get("body", b"")
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
            answer["headers"] = {n.decode(): v.decode() for n, v in message["headers"]}

    await app(scope, receive, send)
    return [answer["status"], answer["headers"], answer["body"].decode("utf-8", "replace")]


async def main() -> None:
    """Run all calls on one app."""
    app = importlib.import_module("app.main").app
    print(json.dumps([await call(app, *each) for each in json.load(sys.stdin)]))


if __name__ == "__main__":
    asyncio.run(main())
