"""From an admitted request to its upstream and back, streamed both ways.

The platform's hot path: no request or response object, one pass over each list of headers.
"""

import logging
from collections.abc import Mapping

import aiohttp
from starlette.types import Receive, Scope, Send

from app.config import Settings
from app.disconnect_watcher import Watch
from app.edge_middleware import Visit
from app.errors import Forbidden, MethodUnknown, NothingHere, Unauthenticated
from app.headers import for_client, for_upstream
from app.policy import Access, Operation
from app.request_body import ClientBody, ClientGone
from app.upstreams import Outgoing, Upstream

log = logging.getLogger(__name__)


class Forwarder:
    """The ASGI app for /api/: what the role table allows is passed on."""

    def __init__(self, upstreams: Mapping[str, Upstream], watch: Watch, settings: Settings) -> None:
        self._upstreams = upstreams
        self._watch = watch
        is_set = "max_body_bytes" in settings.model_fields_set
        self._max_body_bytes = settings.max_body_bytes if is_set else None
        self._body_seconds = settings.client_body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: Visit = scope["gateway.visit"]
        operation = _allowed(visit)
        limit = self._max_body_bytes or operation.max_body_bytes
        body = ClientBody(visit.headers, receive, seconds=self._body_seconds, limit=limit)
        headers = for_upstream(
            visit.headers,
            token=visit.caller.token,
            address=visit.caller.address,
            scheme=scope["scheme"],
            request_id=visit.request_id,
        )
        upstream = self._upstreams[operation.upstream]
        try:
            await body.begin()
            if body.length is not None:
                headers["Content-Length"] = body.length
            outgoing = Outgoing(scope["method"], _target(scope), headers, body)
            with upstream.slots, self._watch.over(receive, body) as call:
                response = await upstream.send(outgoing, call)
                try:
                    await self._relay(upstream.name, response, send)
                finally:
                    response.close()  # gives a connection back that was read to the end
        except ClientGone:
            return

    async def _relay(self, name: str, response: aiohttp.ClientResponse, send: Send) -> None:
        """Pass the answer on. One that breaks off breaks off for the client, too: it must not look
        whole, so nothing is said and uvicorn closes the connection."""
        headers = for_client(response.raw_headers)
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        reader = response.content
        more = True
        try:
            while more:
                chunk = await reader.readany()
                more = not reader.at_eof()
                await send({"type": "http.response.body", "body": chunk, "more_body": more})
        except (aiohttp.ClientError, OSError) as error:
            log.warning("answer broken off", extra={"target": name, "error": type(error).__name__})


def _allowed(visit: Visit) -> Operation:
    """The operation, where the address has one and this caller may."""
    operation = visit.address.operation
    if operation is None:
        if visit.address.known_methods:
            raise MethodUnknown(visit.address.known_methods)
        raise NothingHere(NothingHere.example)
    if operation.access is not Access.PUBLIC:
        identity = visit.caller.identity
        if identity is None:
            raise Unauthenticated
        if not operation.access.allows(identity):
            raise Forbidden(f"This is for {operation.access.value}.")
    return operation


def _target(scope: Scope) -> str:
    raw: str = scope["raw_path"].decode("ascii")
    query: bytes = scope["query_string"]
    return f"{raw}?{query.decode('ascii')}" if query else raw
