"""Client of the language model: Groq, or any OpenAI-compatible server.

Each call passes, from outside to inside: the concurrency limit, the circuit breaker (one result
per call), the deadline, the list of models, the retries of one model. Every failure is raised as
UpstreamUnavailable; the caller then answers without a model.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from prometheus_client import CollectorRegistry

from app.clients.model_connection import Connections, Message, to_upstream_error
from app.config import Settings
from chassis.backoff import RetryPolicy
from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy, CircuitOpen, Outcome
from chassis.http_client.deadline import Deadline
from chassis.http_client.errors import Reason, UpstreamUnavailable, is_peer_failure
from chassis.http_client.metrics import UpstreamMetrics
from chassis.http_client.retry import RetryBudget, retrying

log = logging.getLogger(__name__)

TARGET: Final = "model"
_NOT_FOUND_COOLDOWN = 600.0  # seconds without calls to a model that the server does not have
_UNAUTHORIZED_COOLDOWN = 60.0  # seconds without calls after the server rejected the key
_MAX_COOLDOWN = 300.0
_MIN_ATTEMPT_SECONDS = 0.5  # no further attempt with less of the budget left
_MAX_CHARACTERS = 8_000  # of one answer, in case the server ignores its token limit
_RETRIES = RetryPolicy(attempts=2, backoff=0.2, backoff_max=1.0)
_SINGLE_ATTEMPT = replace(_RETRIES, attempts=1)  # at most three requests per question


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer. `cut` marks the last piece of a truncated answer."""

    model: str
    text: str
    cut: bool = False


class ModelClient:
    """Ask the model. The SDK is imported and connected at the first question.

    Args:
        clock: monotonic seconds, used by the breaker and the cooldowns.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._connections = Connections(settings)
        self._metrics = UpstreamMetrics.of(registry)
        self._budget = RetryBudget(clock=clock)
        policy = BreakerPolicy(failures_in_a_row=5, reset_timeout=settings.model_reset_seconds)
        self._breaker = AsyncBreaker(
            TARGET, policy, registry, is_failure=is_peer_failure, clock=clock
        )
        self._slots = asyncio.Semaphore(settings.model_concurrency)
        self._waiting = 0
        self._cooldowns: dict[str, float] = {}

    @property
    def enabled(self) -> bool:
        return self._settings.model_enabled

    @property
    def circuit(self) -> str:
        """`closed`, `half-open` or `open`."""
        return self._breaker.state

    async def probe(self) -> None:
        """Report readiness from local state; a request to the model would cost money."""
        if self.circuit != "closed" or not self._available_models():
            raise UpstreamUnavailable(TARGET, Reason.CIRCUIT_OPEN)

    async def close(self) -> None:
        await self._connections.close()

    @asynccontextmanager
    async def ask(
        self, messages: Sequence[Message], deadline: Deadline
    ) -> AsyncIterator[AsyncIterator[Piece]]:
        """Stream the pieces of the answer. Leaving the block cancels the call.

        The call runs in its own task, so that its deadline and its result in the breaker do not
        depend on how fast the caller reads the pieces.

        Raises:
            UpstreamUnavailable: from the iterator, before or after the first piece.
        """
        queue: asyncio.Queue[Piece | UpstreamUnavailable | None] = asyncio.Queue()
        task = asyncio.create_task(self._run(messages, deadline, queue.put_nowait), name="model")
        try:
            yield _drain(queue)
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _run(
        self,
        messages: Sequence[Message],
        deadline: Deadline,
        put: Callable[[Piece | UpstreamUnavailable | None], None],
    ) -> None:
        started, outcome = time.perf_counter(), "aborted"
        try:
            async with self._concurrency_slot(deadline):
                await self._with_breaker(messages, deadline, put)
            outcome = "ok"
            put(None)
        except UpstreamUnavailable as error:
            outcome = error.reason.value
            put(error)
        except Exception:  # a bug here must not leave the caller waiting
            log.exception("unexpected error in model call")
            put(UpstreamUnavailable(TARGET, Reason.BAD_ANSWER))
        finally:
            seconds = time.perf_counter() - started
            self._metrics.call_seconds.labels(TARGET, outcome).observe(seconds)

    @asynccontextmanager
    async def _concurrency_slot(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold one of the concurrency slots; fail if the queue is full or the wait too long."""
        if self._slots.locked() and self._waiting >= self._settings.model_queue:
            raise UpstreamUnavailable(TARGET, Reason.CIRCUIT_OPEN)
        self._waiting += 1
        try:
            async with deadline.sooner_of(self._settings.model_queue_seconds).enforce():
                await self._slots.acquire()
        except TimeoutError:
            raise UpstreamUnavailable(TARGET, Reason.CIRCUIT_OPEN) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _with_breaker(
        self, messages: Sequence[Message], deadline: Deadline, put: Callable[[Piece], None]
    ) -> None:
        try:
            with self._breaker.guard() as guard:
                seconds = deadline.remaining()
                self._budget.deposit()
                try:
                    async with deadline.enforce():
                        await self._try_models(messages, deadline, put)
                except TimeoutError:
                    fair = seconds >= min(
                        _MIN_ATTEMPT_SECONDS, self._settings.model_budget_seconds / 2
                    )
                    raise UpstreamUnavailable(
                        TARGET, Reason.TIMEOUT, counts_as_failure=fair
                    ) from None
                except UpstreamUnavailable as error:
                    if error.status is not None and error.status < 500:
                        guard.outcome = Outcome.REJECTED
                    raise
        except CircuitOpen as error:
            raise UpstreamUnavailable(
                TARGET, Reason.CIRCUIT_OPEN, retry_after=error.retry_after
            ) from None

    async def _try_models(
        self, messages: Sequence[Message], deadline: Deadline, put: Callable[[Piece], None]
    ) -> None:
        available = self._available_models()
        if not available:
            raise UpstreamUnavailable(TARGET, Reason.CIRCUIT_OPEN)
        for model in available:
            output = _PieceForwarder(put)
            policy = _RETRIES if model == available[0] else _SINGLE_ATTEMPT
            try:
                loop = retrying(policy, self._budget, deadline.remaining(), self._count_retry)
                await loop(self._answer, model, messages, output)
                return
            except UpstreamUnavailable as error:
                self._start_cooldown(model, error)
                last = model == available[-1] or deadline.remaining() < _MIN_ATTEMPT_SECONDS
                if last or output.has_text or not self._may_try_next_model(error):
                    raise

    def _may_try_next_model(self, error: UpstreamUnavailable) -> bool:
        """Return True if another model may succeed. After a 5xx this uses the retry budget."""
        if error.status is None or error.status in (401, 403):
            return False
        return error.status < 500 or self._budget.withdraw()

    async def _answer(
        self, model: str, messages: Sequence[Message], output: "_PieceForwarder"
    ) -> None:
        """Make one attempt with one model."""
        async with self._connections.lease() as client:
            try:
                async for text, finish in self._connections.stream(client, model, messages):
                    output.forward(Piece(model, text, cut=finish == "length"))
            except Exception as error:
                failure = to_upstream_error(error)
                failure.retryable = failure.retryable and not output.has_text
                raise failure from error
            if not output.has_text:
                raise UpstreamUnavailable(TARGET, Reason.BAD_ANSWER, counts_as_failure=True)

    def _available_models(self) -> list[str]:
        now = self._clock()
        return [model for model in self._settings.models if self._cooldowns.get(model, 0.0) <= now]

    def _start_cooldown(self, model: str, error: UpstreamUnavailable) -> None:
        """Pause calls to a model that is rate limited or missing, or to all on 401 and 403."""
        seconds = 0.0
        if error.status == 404:
            seconds = _NOT_FOUND_COOLDOWN
        elif error.status == 429:
            seconds = min(error.retry_after or 1.0, _MAX_COOLDOWN)
        if seconds:
            self._cooldowns[model] = self._clock() + seconds
        if error.status in (401, 403):
            seconds = _UNAUTHORIZED_COOLDOWN
            self._cooldowns = dict.fromkeys(self._settings.models, self._clock() + seconds)
        log.warning(
            "model request failed",
            extra={
                "model": model,
                "reason": error.reason.value,
                "status": error.status,
                "cooldown_seconds": seconds,
            },
        )

    def _count_retry(self) -> None:
        self._metrics.retries.labels(TARGET).inc()


@dataclass(slots=True)
class _PieceForwarder:
    """Forward pieces to the caller, bound their total length, and record if any had text."""

    put: Callable[[Piece], None]
    has_text: bool = False
    length: int = 0

    def forward(self, piece: Piece) -> None:
        self.length += len(piece.text)
        if self.length > _MAX_CHARACTERS:
            raise UpstreamUnavailable(TARGET, Reason.BAD_ANSWER)
        if piece.text or piece.cut:
            self.has_text = self.has_text or bool(piece.text.strip())
            self.put(piece)


async def _drain(queue: "asyncio.Queue[Any]") -> AsyncIterator[Piece]:
    while (item := await queue.get()) is not None:
        if isinstance(item, UpstreamUnavailable):
            raise item
        yield item
