"""A circuit breaker for asyncio around pybreaker's state machine.

pybreaker alone does not fit: its decorator never opens on `async def`, half-open lets every waiting
caller through, a cancelled call counts (as a failure, or as the success that closes the circuit),
and a failure rate below "N in a row" never opens it.
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

from chassis.http_client.response import UpstreamMetrics

_STATES = {pybreaker.STATE_CLOSED: 0, pybreaker.STATE_HALF_OPEN: 1, pybreaker.STATE_OPEN: 2}


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens, and for how long. Seconds throughout."""

    failures_in_a_row: int = 5
    failure_rate: float = 0.5
    rate_window: int = 10
    rate_calls: int = 20  # with fewer calls in the window a rate says nothing
    reset_timeout: float = 5.0
    refused_reset_timeout: float = (
        0.5  # after a refused connection; another try costs almost nothing
    )


class CircuitOpen(Exception):
    """Refused without a try; worth another one in `retry_after` seconds."""

    def __init__(self, target: str, retry_after: float) -> None:
        super().__init__(f"the circuit to {target} is open")
        self.retry_after = retry_after


class Vote(Enum):
    """What one call says of the peer's health."""

    SUCCESS = auto()
    FAILURE = auto()
    REFUSAL = auto()  # a 4xx: the peer is there, which only a half-open circuit wants to know
    NONE = auto()  # cancelled, or failed for a reason that is not the peer's


class Ballot:
    """The guard around one call; the guarded block may set another vote than SUCCESS."""

    __slots__ = ("_breaker", "_epoch", "vote")

    def __init__(self, breaker: "AsyncBreaker") -> None:
        self._breaker = breaker
        self.vote = Vote.SUCCESS

    def __enter__(self) -> "Ballot":
        self._epoch = self._breaker.admit()
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.vote = Vote.FAILURE if self._breaker.is_failure(error) else Vote.NONE
        refused = error is not None and self._breaker.is_refused(error)
        self._breaker.count(self.vote, self._epoch, refused=refused)


class _Failed(Exception):
    pass


def _fail() -> Never:
    raise _Failed


class AsyncBreaker(pybreaker.CircuitBreakerListener):
    """Opens after N failures in a row, or at a failure rate over a window; probes one at a time.

    Per process and without a lock: every decision is made between two awaits. A call that began
    before the circuit last moved is old news and has no vote.

    Args:
        target: the peer's name, the metrics' label.
        is_failure: which exceptions speak against the peer. All others, CancelledError among them,
            are no vote.
        is_refused: which of those failures are a refused connection. The circuit probes sooner
            after one: a peer that restarts must not be refused long after it is back.
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
        self._reset_timeout = policy.reset_timeout
        self._clock = clock
        self._metrics = UpstreamMetrics.of(registry)
        self._metrics.circuit_state.labels(target).set(0)
        self._metrics.circuit_refused.labels(target)
        self._epoch = 0
        self._opened_at = -math.inf
        self._probing = False
        self._window: deque[list[int]] = deque()  # [second, calls, failures]
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=policy.failures_in_a_row, throw_new_error_on_trip=False, listeners=[self]
        )

    @property
    def state(self) -> str:
        """`closed`, `half-open` or `open`."""
        return str(self._circuit.current_state)

    def guard(self) -> Ballot:
        """To be put around one call, its deadline inside: a peer that hangs must count as a
        failure. Entering it raises CircuitOpen at once where the circuit is.
        """
        return Ballot(self)

    def state_change(
        self, cb: object, old_state: object, new_state: pybreaker.CircuitBreakerState
    ) -> None:
        """pybreaker's call-back on every move, before `current_state` shows it."""
        self._epoch += 1
        self._probing = False
        self._window.clear()
        if new_state.name == pybreaker.STATE_OPEN:
            self._opened_at = self._clock()
        self._metrics.circuit_state.labels(self._target).set(_STATES[new_state.name])

    def admit(self) -> int:
        """Let one call begin; the epoch in which it does.

        Raises:
            CircuitOpen: not now.
        """
        if self.state == pybreaker.STATE_OPEN:
            wait = self._opened_at + self._reset_timeout - self._clock()
            if wait > 0:
                self._refuse(wait)
            self._circuit.half_open()
        if self.state == pybreaker.STATE_HALF_OPEN:
            if self._probing:
                self._refuse(1.0)  # the probe's answer is near
            self._probing = True
        return self._epoch

    def _refuse(self, retry_after: float) -> Never:
        self._metrics.circuit_refused.labels(self._target).inc()
        raise CircuitOpen(self._target, retry_after)

    def count(self, vote: Vote, epoch: int, *, refused: bool = False) -> None:
        """Count the vote of a call that began in `epoch`.

        Args:
            refused: the call failed with a refused connection.
        """
        if epoch != self._epoch:
            return
        probe, self._probing = self._probing, False
        if vote is Vote.REFUSAL:
            vote = Vote.SUCCESS if probe else Vote.NONE
        if vote is Vote.NONE:
            return
        failed = vote is Vote.FAILURE
        self._reset_timeout = self._policy.reset_timeout
        if refused:
            self._reset_timeout = min(self._reset_timeout, self._policy.refused_reset_timeout)
        self._note(failed)
        if not failed and not probe and self._circuit.fail_counter == 0:
            return  # nothing that pybreaker would have to write down
        with contextlib.suppress(_Failed):
            self._circuit.call(_fail if failed else bool)
        if self.state == pybreaker.STATE_CLOSED and failed and self._too_many():
            self._circuit.open()

    def _note(self, failed: bool) -> None:
        second = int(self._clock())
        while self._window and self._window[0][0] <= second - self._policy.rate_window:
            self._window.popleft()
        if not self._window or self._window[-1][0] != second:
            self._window.append([second, 0, 0])
        self._window[-1][1] += 1
        self._window[-1][2] += failed

    def _too_many(self) -> bool:
        calls = sum(bucket[1] for bucket in self._window)
        failures = sum(bucket[2] for bucket in self._window)
        return calls >= self._policy.rate_calls and failures >= calls * self._policy.failure_rate
