"""Connections to the model server with Groq's SDK, without its retries."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.config import Settings
from chassis.http_client.errors import Reason, UpstreamUnavailable
from chassis.http_client.retry import retry_after_seconds

if TYPE_CHECKING:
    from groq import AsyncGroq

_GROQ_PATH = "/openai/v1/chat/completions"
_OPENAI_PATH = "/chat/completions"
_TEMPERATURE = 0.3
_MODEL_GONE = ("model_decommissioned", "model_not_found")  # Groq sends the first with 400
_KEYLESS = "none"  # the SDK requires a key, a local server does not

Message = dict[str, str]
"""`role` and `content` of one chat message."""


@dataclass(eq=False, slots=True)
class _Connection:
    client: "AsyncGroq"
    users: int = 0


class Connections:
    """Create the SDK's client when it is first needed; replace it after a cancelled or failed call.

    The SDK uses httpx 0.28, whose connection pool stops working after some thousand cancelled
    requests, and each client disconnect cancels a request. A client whose call was cancelled or
    failed therefore gets no further calls, and is closed when its last call has ended.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._current: _Connection | None = None
        self._tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def lease(self) -> AsyncIterator["AsyncGroq"]:
        """Lend a client for one call."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(_load_sdk)
        connection = self._current
        if connection is None:
            connection = self._current = _Connection(self._new(self._tls))
        connection.users += 1
        try:
            yield connection.client
        except BaseException as error:
            answered = isinstance(error, UpstreamUnavailable) and error.status is not None
            if not answered and self._current is connection:
                self._current = None
            raise
        finally:
            connection.users -= 1
            if connection is not self._current and connection.users == 0:
                await connection.client.close()

    async def close(self) -> None:
        connection, self._current = self._current, None
        if connection is not None:
            await connection.client.close()

    def _new(self, tls: ssl.SSLContext) -> "AsyncGroq":
        from groq import AsyncGroq, DefaultAsyncHttpxClient

        settings = self._settings
        # Requests to this machine must not leave it: httpx would send them to `http_proxy`.
        use_proxy = not _is_loopback(settings.groq_base_url)
        return AsyncGroq(
            api_key=settings.groq_api_key.get_secret_value() or _KEYLESS,
            base_url=settings.groq_base_url.rstrip("/") or None,
            timeout=settings.model_budget_seconds,
            max_retries=0,  # ModelClient retries within its budget
            http_client=DefaultAsyncHttpxClient(verify=tls, trust_env=use_proxy),
        )

    async def stream(
        self, client: "AsyncGroq", model: str, messages: Sequence[Message]
    ) -> AsyncIterator[tuple[str, str | None]]:
        """Stream the text and finish reason of each chunk of one answer."""
        from groq import AsyncStream
        from groq.types.chat import ChatCompletionChunk

        answer = await client.post(
            self._path(),
            cast_to=ChatCompletionChunk,
            body=self._body(model, messages),
            stream=True,
            stream_cls=AsyncStream[ChatCompletionChunk],
        )
        async with answer:
            async for chunk in answer:
                for choice in (chunk.choices or [])[:1]:
                    yield choice.delta.content or "", choice.finish_reason

    def _path(self) -> str:
        """Return Groq's path, or the path for a base URL that already contains the version."""
        base = self._settings.groq_base_url.rstrip("/")
        return _OPENAI_PATH if base.endswith("/v1") else _GROQ_PATH

    def _body(self, model: str, messages: Sequence[Message]) -> dict[str, object]:
        groq = self._path() == _GROQ_PATH
        body: dict[str, object] = {
            "model": model,
            "messages": list(messages),
            "stream": True,
            "temperature": _TEMPERATURE,
            # The newer name of the parameter, which some OpenAI-compatible servers do not support
            "max_completion_tokens" if groq else "max_tokens": self._settings.model_max_tokens,
        }
        if groq and model.startswith("openai/gpt-oss"):
            body["reasoning_effort"] = "low"
        return body


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _load_sdk() -> ssl.SSLContext:
    """Return the TLS context that all clients share; creating one takes about 20 ms.

    Called at the first question, because most deployments have no key and save the memory, and in
    a thread, because it takes tenths of a second.
    """
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def to_upstream_error(error: Exception) -> UpstreamUnavailable:
    """Convert an error of the SDK, or of httpx below it, to UpstreamUnavailable.

    Errors are recognised by attributes and class names, so that the SDK need not be imported.
    httpx errors pass through the SDK unchanged while an answer is streamed.
    """
    if isinstance(error, UpstreamUnavailable):
        return error
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        if status == 400 and _code(error) in _MODEL_GONE:
            status = 404
        headers = getattr(getattr(error, "response", None), "headers", {})
        return UpstreamUnavailable(
            "model",
            Reason.BAD_ANSWER,
            status=status,
            retry_after=retry_after_seconds(headers.get("retry-after")),
            retryable=status == 429 or status >= 500,
            counts_as_failure=status >= 500,
        )
    name = type(error).__name__
    if "Timeout" in name:
        return UpstreamUnavailable("model", Reason.TIMEOUT, counts_as_failure=True)
    never_sent = type(error.__cause__).__name__ == "ConnectError"
    if name == "APIConnectionError" or name.endswith(("ReadError", "ProtocolError")):
        # Retry only if the request was never sent: a lost answer has already been paid for.
        return UpstreamUnavailable(
            "model", Reason.CONNECTION, retryable=never_sent, counts_as_failure=True
        )
    return UpstreamUnavailable("model", Reason.BAD_ANSWER, counts_as_failure=True)


def _code(error: Exception) -> str:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    return str(inner.get("code", "")) if isinstance(inner, dict) else ""
