"""Asyncio circuit breaker on pybreaker's state machine (docs/adr/0026).

pybreaker holds the state, counts consecutive failures, and opens and closes the circuit. What it
lacks for asyncio is added here: one probe at a time in half-open state, calls without an outcome
(cancelled, or failed for a reason of our own), a failure rate, and a monotonic clock.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Never

import pybreaker
from prometheus_client import CollectorRegistry

from chassis.http_client.metrics import UpstreamMetrics

_STATES = {pybreaker.STATE_CLOSED: 0, pybreaker.STATE_HALF_OPEN: 1, pybreaker.STATE_OPEN: 2}
_PROBE_RETRY_AFTER = 1.0  # seconds; for calls refused while the probe runs


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens, and for how long. Times in seconds."""

    failures_in_a_row: int = 5
    failure_rate: float = 0.5
    rate_window: int = 10
    rate_calls: int = 20  # the failure rate needs at least so many calls in the window
    reset_timeout: float = 5.0
    # After a refused connection: the peer is probably restarting, and a probe costs little.
    refused_reset_timeout: float = 0.5


class CircuitOpen(Exception):
    """The circuit is open: the call was refused and nothing was sent.

    Attributes:
        retry_after: seconds until the next probe.
    """

    def __init__(self, target: str, retry_after: float) -> None:
        super().__init__(f"the circuit to {target} is open")
        self.retry_after = retry_after


class Outcome(Enum):
    """The meaning of a call's result for the peer's health."""

    SUCCESS = auto()
    FAILURE = auto()
    REJECTED = auto()  # a 4xx response: closes a half-open circuit, otherwise not counted
    IGNORED = auto()  # cancelled, or failed for a reason that is not the peer's


class Guard:
    """Context manager around one call. The block may set another outcome than SUCCESS."""

    __slots__ = ("_breaker", "_generation", "outcome")

    def __init__(self, breaker: "AsyncBreaker") -> None:
        self._breaker = breaker
        self.outcome = Outcome.SUCCESS

    def __enter__(self) -> "Guard":
        self._generation = self._breaker.admit()
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            failure = self._breaker.is_failure(error)
            self.outcome = Outcome.FAILURE if failure else Outcome.IGNORED
        refused = error is not None and self._breaker.is_refused(error)
        self._breaker.record(self.outcome, self._generation, refused=refused)


class _PeerFailed(Exception):
    """Reports a failure to pybreaker."""


def _fail() -> Never:
    raise _PeerFailed


def _succeed() -> None:
    pass


class AsyncBreaker(pybreaker.CircuitBreakerListener):
    """Circuit breaker of one peer, in this process. It knows no HTTP library.

    It needs no lock: it never awaits between reading the state and changing it. A call that
    started before the last state change has no outcome.

    Args:
        target: the peer's name, the metrics' label.
        is_failure: whether an exception counts as a failure of the peer. All other exceptions,
            CancelledError among them, are ignored.
        is_refused: whether a failure was a refused connection; the circuit then probes sooner.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        target: str,
        policy: BreakerPolicy,
        registry: CollectorRegistry,
        *,
        is_failure: Callable[[BaseException], bool] = lambda error: isinstance(error, Exception),
        is_refused: Callable[[BaseException], bool] = lambda error: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._policy = policy
        self.is_failure = is_failure
        self.is_refused = is_refused
        self._clock = clock
        self._metrics = UpstreamMetrics.of(registry)
        self._metrics.circuit_state.labels(target).set(0)
        self._metrics.circuit_refused.labels(target)
        self._generation = 0
        self._opened_at = -math.inf
        self._probe_running = False
        self._window: deque[list[int]] = deque()  # [second, calls, failures]
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=policy.failures_in_a_row,
            reset_timeout=policy.reset_timeout,
            throw_new_error_on_trip=False,
            listeners=[self],
        )

    @property
    def state(self) -> str:
        """`closed`, `half-open` or `open`."""
        return str(self._circuit.current_state)

    def guard(self) -> Guard:
        """Return the context manager of one call. Entering it raises CircuitOpen if refused.

        The call's deadline belongs inside the block, so that a call to a hanging peer is a failure.
        """
        return Guard(self)

    def state_change(
        self, cb: object, old_state: object, new_state: pybreaker.CircuitBreakerState
    ) -> None:
        """Listener method: pybreaker calls it at each change of state."""
        self._generation += 1
        self._probe_running = False
        self._window.clear()
        if new_state.name == pybreaker.STATE_OPEN:
            self._opened_at = self._clock()
        self._metrics.circuit_state.labels(self._target).set(_STATES[new_state.name])

    def admit(self) -> int:
        """Admit a call and return the current generation, for `record`.

        Raises:
            CircuitOpen: the circuit is open, or half-open with a probe running.
        """
        if self.state == pybreaker.STATE_OPEN:
            wait = self._opened_at + self._circuit.reset_timeout - self._clock()
            if wait > 0:
                self._refuse(wait)
            self._circuit.half_open()
        if self.state == pybreaker.STATE_HALF_OPEN:
            if self._probe_running:
                self._refuse(_PROBE_RETRY_AFTER)
            self._probe_running = True
        return self._generation

    def _refuse(self, retry_after: float) -> Never:
        self._metrics.circuit_refused.labels(self._target).inc()
        raise CircuitOpen(self._target, retry_after)

    def record(self, outcome: Outcome, generation: int, *, refused: bool = False) -> None:
        """Report the outcome of a call that `admit` admitted in this generation.

        Args:
            refused: the call failed with a refused connection.
        """
        if generation != self._generation:
            return
        probe, self._probe_running = self._probe_running, False
        if outcome is Outcome.REJECTED:
            outcome = Outcome.SUCCESS if probe else Outcome.IGNORED
        if outcome is Outcome.IGNORED:
            return
        policy = self._policy
        self._circuit.reset_timeout = (
            min(policy.reset_timeout, policy.refused_reset_timeout)
            if refused
            else policy.reset_timeout
        )
        failed = outcome is Outcome.FAILURE
        self._count(failed)
        with contextlib.suppress(_PeerFailed):
            self._circuit.call(_fail if failed else _succeed)
        if failed and self.state == pybreaker.STATE_CLOSED and self._failure_rate_exceeded():
            self._circuit.open()

    def _count(self, failed: bool) -> None:
        second = int(self._clock())
        while self._window and self._window[0][0] <= second - self._policy.rate_window:
            self._window.popleft()
        if not self._window or self._window[-1][0] != second:
            self._window.append([second, 0, 0])
        self._window[-1][1] += 1
        self._window[-1][2] += failed

    def _failure_rate_exceeded(self) -> bool:
        calls = sum(bucket[1] for bucket in self._window)
        failures = sum(bucket[2] for bucket in self._window)
        return calls >= self._policy.rate_calls and failures >= calls * self._policy.failure_rate
