"""The services' documents as last seen, and the merged one made of them.

Nothing is fetched until somebody asks; then all at once, at most every 30 s, by one task however
many ask. A service that is away, or sends nonsense, keeps the last good document. Reading and
merging, some milliseconds each, is done in a thread: the gateway's loop forwards meanwhile.
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
from app.upstreams import Outgoing, Patience

log = logging.getLogger(__name__)

REFETCH_SECONDS = 30.0
FETCH_SECONDS = 3.0
LARGEST = 500_000


class DocumentSource(Protocol):
    """What is needed of an `Upstream`."""

    @property
    def slots(self) -> contextlib.AbstractContextManager[None]: ...

    async def send(self, outgoing: Outgoing, patience: Patience) -> ClientResponse: ...


class DocumentStore:
    """Built in the app's factory, closed in its lifespan.

    Args:
        issuer: the identity provider's realm as browsers see it.
        seconds: that a fetch may take.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        upstreams: Mapping[str, DocumentSource],
        issuer: str,
        *,
        seconds: float = FETCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstreams = upstreams
        self._issuer = issuer
        self._seconds = seconds
        self._clock = clock
        self._documents: dict[str, ServiceDocument | None] = dict.fromkeys(upstreams)
        self._merged = b""
        self._fetched_at = -math.inf
        self._task: asyncio.Task[None] | None = None

    async def merged(self) -> bytes:
        """The merged document as JSON; waits for a fetch, a few seconds at most, when one is due.

        A task of its own, waited for through a shield: a caller who hangs up must not cut off the
        fetch that others wait for.
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
            async with asyncio.timeout(self._seconds):
                content = await _fetched(self._upstreams[service])
            self._documents[service] = await asyncio.to_thread(read_document, content, wanted)
        except Exception as error:  # whatever it is, the other services' documents are shown
            fields = {"upstream": service, "error": type(error).__name__, "reason": str(error)}
            log.warning("API document not fetched", extra=fields)


class _Unhurried:
    """A call that nobody's departure ends; `asyncio.timeout` bounds it."""

    since = 0.0
    seconds = math.inf

    def was_late(self) -> bool:
        return False


class _NoBody:
    """Of a GET."""

    replayable = True
    failure = None

    def content(self) -> bytes | AsyncIterator[bytes] | None:
        return None


async def _fetched(upstream: DocumentSource) -> bytes:
    headers = CIMultiDict({"Accept": "application/json", "Accept-Encoding": "identity"})
    with upstream.slots:
        outgoing = Outgoing("GET", "/openapi.json", headers, _NoBody())
        response = await upstream.send(outgoing, _Unhurried())
        try:
            if response.status != 200:
                raise MalformedDocument(f"the answer was {response.status}")
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > LARGEST:
                    raise MalformedDocument(f"it is larger than {LARGEST} bytes")
            return bytes(content)
        finally:
            response.close()  # gives a connection back that was read to the end
