"""A minimal forwarder on aiohttp's client, without limits, tokens or logs."""

import os
from typing import Any

import aiohttp
from yarl import URL

_UPSTREAM = os.environ["UPSTREAM"]
_HOP_BY_HOP = (b"host", b"connection", b"transfer-encoding", b"date", b"server")
_session: list[aiohttp.ClientSession] = []


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    if not _session:
        connector = aiohttp.TCPConnector(limit=0)
        _session.append(aiohttp.ClientSession(connector=connector, auto_decompress=False))
    query = scope["query_string"].decode()
    target = scope["raw_path"].decode() + (f"?{query}" if query else "")
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in scope["headers"]
        if name not in _HOP_BY_HOP
    ]
    request = _session[0].request(
        scope["method"],
        URL(_UPSTREAM + target, encoded=True),
        headers=headers,
        allow_redirects=False,
    )
    async with request as response:
        kept = [pair for pair in response.raw_headers if pair[0].lower() not in _HOP_BY_HOP]
        await send({"type": "http.response.start", "status": response.status, "headers": kept})
        async for chunk in response.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
