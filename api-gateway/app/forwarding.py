"""Forward an accepted request to its upstream and stream the response back.

This is the gateway's hot path: it builds no request or response objects, and iterates over each
list of headers once.
"""

import logging
from collections.abc import Mapping

import aiohttp
from starlette.types import Receive, Scope, Send

from app.config import Settings
from app.disconnect_watcher import DisconnectWatcher
from app.edge_middleware import EdgeRequest
from app.errors import Forbidden, MethodNotAllowed, ResourceNotFound, Unauthenticated
from app.headers import response_headers, upstream_headers
from app.policy import Access, Operation
from app.request_body import ClientDisconnected, RequestBody
from app.upstreams import Upstream, UpstreamRequest

log = logging.getLogger(__name__)


class Forwarder:
    """ASGI app for `/api/`: authorizes the caller by the role table, then forwards."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], watcher: DisconnectWatcher, settings: Settings
    ) -> None:
        self._upstreams = upstreams
        self._watcher = watcher
        is_set = "max_body_bytes" in settings.model_fields_set
        self._max_body_bytes = settings.max_body_bytes if is_set else None
        self._body_timeout = settings.client_body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        edge_request: EdgeRequest = scope["gateway.request"]
        operation = _authorized_operation(edge_request)
        max_bytes = self._max_body_bytes or operation.max_body_bytes
        body = RequestBody(
            edge_request.headers, receive, timeout=self._body_timeout, max_bytes=max_bytes
        )
        headers = upstream_headers(
            edge_request.headers,
            token=edge_request.caller.token,
            address=edge_request.caller.address,
            scheme=scope["scheme"],
            request_id=edge_request.request_id,
        )
        upstream = self._upstreams[operation.upstream]
        try:
            await body.prefetch()
            if body.streamed_length is not None:
                headers["Content-Length"] = body.streamed_length
            request = UpstreamRequest(scope["method"], _target(scope), headers, body)
            with upstream.bulkhead, self._watcher.watch(receive, body) as call:
                response = await upstream.send(request, call)
                try:
                    await self._stream_response(upstream.name, response, send)
                finally:
                    response.close()  # returns a connection that was read to the end to the pool
        except ClientDisconnected:
            return

    async def _stream_response(
        self, upstream: str, response: aiohttp.ClientResponse, send: Send
    ) -> None:
        """Send the response on.

        If the upstream breaks off, the last message is not sent: uvicorn then closes the
        connection, and the client sees an incomplete response.
        """
        headers = response_headers(response.raw_headers)
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        reader = response.content
        more = True
        try:
            while more:
                chunk = await reader.readany()
                more = not reader.at_eof()
                await send({"type": "http.response.body", "body": chunk, "more_body": more})
        except (aiohttp.ClientError, OSError) as error:
            log.warning(
                "upstream response incomplete",
                extra={"target": upstream, "error": type(error).__name__},
            )


def _authorized_operation(request: EdgeRequest) -> Operation:
    """Return the operation, if the path has one and this caller may use it."""
    operation = request.match.operation
    if operation is None:
        if request.match.allowed_methods:
            raise MethodNotAllowed(request.match.allowed_methods)
        raise ResourceNotFound(ResourceNotFound.example)
    if operation.access is not Access.PUBLIC:
        identity = request.caller.identity
        if identity is None:
            raise Unauthenticated
        if not operation.access.allows(identity):
            raise Forbidden(f"This operation is for {operation.access.value}.")
    return operation


def _target(scope: Scope) -> str:
    raw: str = scope["raw_path"].decode("ascii")
    query: bytes = scope["query_string"]
    return f"{raw}?{query.decode('ascii')}" if query else raw
