"""The language model: Groq through its own client, or any server that speaks OpenAI's protocol.

From the outside in: a turn (so many calls at once, a short line), the breaker (one question, one
vote), the deadline, the models in their order, the retries of one model. Whatever fails is an
UpstreamUnavailable, and the caller answers without a model.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from prometheus_client import CollectorRegistry

from app.clients.model_connection import Connections, Message, failure_of
from app.config import Settings
from chassis.backoff import RetryPolicy
from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy, CircuitOpen, Outcome
from chassis.http_client.deadline import Deadline
from chassis.http_client.errors import Reason, UpstreamUnavailable, is_peer_failure
from chassis.http_client.metrics import UpstreamMetrics
from chassis.http_client.retry import RetryBudget, retrying

log = logging.getLogger(__name__)

TARGET: Final = "model"
_GONE = 600.0  # seconds for which a model that is not there is not asked again
_REFUSED = 60.0  # and a server that refuses the key
_LONGEST_REST = 300.0
_LEAST_TIME = 0.5  # with less of the budget left no further try begins
_MAX_CHARACTERS = 8_000  # of one answer, whatever the server thinks of its token limit
_RETRIES = RetryPolicy(attempts=2, backoff=0.2, backoff_max=1.0)
_ONCE = replace(_RETRIES, attempts=1)  # so that one question is three requests at most


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer. `cut` is true of the last one of an answer that was cut off."""

    model: str
    text: str
    cut: bool = False


class ModelClient:
    """Asks the model. Nothing is imported, connected or needed before the first question.

    Args:
        clock: monotonic seconds; the breaker's and the rests'.
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
        self._turns = asyncio.Semaphore(settings.model_concurrency)
        self._waiting = 0
        self._rests: dict[str, float] = {}

    @property
    def enabled(self) -> bool:
        return self._settings.model_enabled

    @property
    def circuit(self) -> str:
        """`closed`, `half-open` or `open`."""
        return self._breaker.state

    async def probe(self) -> None:
        """For readiness; asks nobody, for every question costs money."""
        if self.circuit != "closed" or not self._awake():
            raise UpstreamUnavailable(TARGET, Reason.CIRCUIT_OPEN)

    async def close(self) -> None:
        await self._connections.close()

    @asynccontextmanager
    async def ask(
        self, messages: Sequence[Message], deadline: Deadline
    ) -> AsyncIterator[AsyncIterator[Piece]]:
        """The answer's pieces as they come. Leaving the block ends the call, finished or not.

        The call runs in a task of its own, so that neither its deadline nor its vote at the breaker
        depends on how fast the pieces are taken.

        Raises:
            UpstreamUnavailable: from the iterator, at its beginning or in its midst.
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
            async with self._turn(deadline):
                await self._guarded(messages, deadline, put)
            outcome = "ok"
            put(None)
        except UpstreamUnavailable as error:
            outcome = error.reason.value
            put(error)
        except Exception:  # a mistake of ours must not leave the caller waiting
            log.exception("the model could not be asked")
            put(UpstreamUnavailable(TARGET, Reason.BAD_ANSWER))
        finally:
            seconds = time.perf_counter() - started
            self._metrics.call_seconds.labels(TARGET, outcome).observe(seconds)

    @asynccontextmanager
    async def _turn(self, deadline: Deadline) -> AsyncIterator[None]:
        """One of so many calls at once; whoever would wait for long is refused."""
        if self._turns.locked() and self._waiting >= self._settings.model_queue:
            raise UpstreamUnavailable(TARGET, Reason.CIRCUIT_OPEN)
        self._waiting += 1
        try:
            async with deadline.sooner_of(self._settings.model_queue_seconds).enforce():
                await self._turns.acquire()
        except TimeoutError:
            raise UpstreamUnavailable(TARGET, Reason.CIRCUIT_OPEN) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def _guarded(
        self, messages: Sequence[Message], deadline: Deadline, put: Callable[[Piece], None]
    ) -> None:
        try:
            with self._breaker.guard() as guard:
                seconds = deadline.remaining()
                self._budget.deposit()
                try:
                    async with deadline.enforce():
                        await self._first_that_answers(messages, deadline, put)
                except TimeoutError:
                    fair = seconds >= min(_LEAST_TIME, self._settings.model_budget_seconds / 2)
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

    async def _first_that_answers(
        self, messages: Sequence[Message], deadline: Deadline, put: Callable[[Piece], None]
    ) -> None:
        awake = self._awake()
        if not awake:
            raise UpstreamUnavailable(TARGET, Reason.CIRCUIT_OPEN)
        for model in awake:
            said = _Said(put)
            policy = _RETRIES if model == awake[0] else _ONCE
            try:
                loop = retrying(policy, self._budget, deadline.remaining(), self._count_retry)
                await loop(self._answer, model, messages, said)
                return
            except UpstreamUnavailable as error:
                self._rest(model, error)
                last = model == awake[-1] or deadline.remaining() < _LEAST_TIME
                if last or said.anything or not self._another_may_answer(error):
                    raise

    def _another_may_answer(self, error: UpstreamUnavailable) -> bool:
        """Whether the trouble is this model's own; a server in trouble is a retry, and paid."""
        if error.status is None or error.status in (401, 403):
            return False
        return error.status < 500 or self._budget.withdraw()

    async def _answer(self, model: str, messages: Sequence[Message], said: "_Said") -> None:
        """One try with one model."""
        async with self._connections.lease() as client:
            try:
                async for text, finish in self._connections.stream(client, model, messages):
                    said.piece(Piece(model, text, cut=finish == "length"))
            except Exception as error:
                failure = failure_of(error)
                failure.retryable = failure.retryable and not said.anything
                raise failure from error
            if not said.anything:
                raise UpstreamUnavailable(TARGET, Reason.BAD_ANSWER, counts_as_failure=True)

    def _awake(self) -> list[str]:
        now = self._clock()
        return [model for model in self._settings.models if self._rests.get(model, 0.0) <= now]

    def _rest(self, model: str, error: UpstreamUnavailable) -> None:
        """Do not ask again at once what will not answer: a limit reached, a model shut down."""
        seconds = 0.0
        if error.status == 404:
            seconds = _GONE
        elif error.status == 429:
            seconds = min(error.retry_after or 1.0, _LONGEST_REST)
        if seconds:
            self._rests[model] = self._clock() + seconds
        if error.status in (401, 403):
            seconds = _REFUSED
            self._rests = dict.fromkeys(self._settings.models, self._clock() + seconds)
        log.warning(
            "the model did not answer",
            extra={
                "model": model,
                "reason": error.reason.value,
                "status": error.status,
                "rests": seconds,
            },
        )

    def _count_retry(self) -> None:
        self._metrics.retries.labels(TARGET).inc()


@dataclass(slots=True)
class _Said:
    """Hands pieces on, and knows whether there was any."""

    put: Callable[[Piece], None]
    anything: bool = False
    length: int = 0

    def piece(self, piece: Piece) -> None:
        self.length += len(piece.text)
        if self.length > _MAX_CHARACTERS:
            raise UpstreamUnavailable(TARGET, Reason.BAD_ANSWER)
        if piece.text or piece.cut:
            self.anything = self.anything or bool(piece.text.strip())
            self.put(piece)


async def _drain(queue: "asyncio.Queue[Any]") -> AsyncIterator[Piece]:
    while (item := await queue.get()) is not None:
        if isinstance(item, UpstreamUnavailable):
            raise item
        yield item
