"""A service that answers every request with a constant JSON page of products."""

import json
from typing import Any

_PAGE = {
    "products": [{"id": str(n), "name": f"Thing {n}", "price": 9.99} for n in range(5)],
    "total": 5,
    "page": 1,
    "page_size": 10,
}
_BODY = json.dumps(_PAGE).encode()
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_BODY)).encode()),
]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
