"""Fetch the services' OpenAPI documents, and merge them into one.

Documents are fetched on request, all at once, by one task, at most every 30 s. The last valid
document of a service is kept while the service is unavailable or sends an invalid one. Parsing and
merging take some milliseconds each and run in a thread, so that they do not block the event loop.
"""

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from aiohttp import ClientResponse
from multidict import CIMultiDict

from app.api_document import merged_document
from app.policy import TABLE
from app.service_document import MalformedDocument, ServiceDocument, read_document
from app.upstreams import CallDeadline, UpstreamRequest

log = logging.getLogger(__name__)

REFETCH_SECONDS = 30.0
FETCH_SECONDS = 3.0
MAX_DOCUMENT_BYTES = 500_000


class DocumentSource(Protocol):
    """The part of `Upstream` that is used here."""

    @property
    def bulkhead(self) -> contextlib.AbstractContextManager[None]: ...

    async def send(self, request: UpstreamRequest, deadline: CallDeadline) -> ClientResponse: ...


class DocumentStore:
    """Built in `create_app`, closed in the lifespan.

    Args:
        issuer: the identity provider's realm, at the address that browsers use.
        timeout: seconds for one fetch.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        upstreams: Mapping[str, DocumentSource],
        issuer: str,
        *,
        timeout: float = FETCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstreams = upstreams
        self._issuer = issuer
        self._timeout = timeout
        self._clock = clock
        self._documents: dict[str, ServiceDocument | None] = dict.fromkeys(upstreams)
        self._merged = b""
        self._fetched_at = -math.inf
        self._task: asyncio.Task[None] | None = None

    async def merged(self) -> bytes:
        """Return the merged document as JSON; wait for a fetch, a few seconds at most, when due.

        The fetch is a task behind a shield: a caller that disconnects must not cancel the fetch
        that others wait for.
        """
        if self._task is None or self._task.done():
            if self._clock() - self._fetched_at < REFETCH_SECONDS:
                return self._merged
            self._fetched_at = self._clock()
            self._task = asyncio.create_task(self._refetch(), name="fetch API documents")
        await asyncio.shield(self._task)
        return self._merged

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _refetch(self) -> None:
        await asyncio.gather(*(self._update(service) for service in self._upstreams))
        self._merged = await asyncio.to_thread(self._merge)

    def _merge(self) -> bytes:
        return json.dumps(merged_document(self._documents, TABLE, self._issuer)).encode("ascii")

    async def _update(self, service: str) -> None:
        wanted = [operation for operation in TABLE if operation.upstream == service]
        try:
            async with asyncio.timeout(self._timeout):
                content = await _fetch(self._upstreams[service])
            self._documents[service] = await asyncio.to_thread(read_document, content, wanted)
        except Exception as error:  # the other services' documents are still shown
            fields = {"upstream": service, "error": type(error).__name__, "reason": str(error)}
            log.warning("API document not fetched", extra=fields)


class _NoDeadline:
    """No deadline of its own: `asyncio.timeout` bounds the fetch."""

    waiting_since = 0.0
    timeout = math.inf

    def acknowledge_timeout(self) -> bool:
        return False


class _NoBody:
    """The absent body of a GET."""

    is_replayable = True
    client_error = None

    def content(self) -> bytes | AsyncIterator[bytes] | None:
        return None


async def _fetch(upstream: DocumentSource) -> bytes:
    headers = CIMultiDict({"Accept": "application/json", "Accept-Encoding": "identity"})
    with upstream.bulkhead:
        request = UpstreamRequest("GET", "/openapi.json", headers, _NoBody())
        response = await upstream.send(request, _NoDeadline())
        try:
            if response.status != 200:
                raise MalformedDocument(f"the status was {response.status}")
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > MAX_DOCUMENT_BYTES:
                    raise MalformedDocument(f"it is larger than {MAX_DOCUMENT_BYTES} bytes")
            return bytes(content)
        finally:
            response.close()  # returns a connection that was read to the end to the pool
