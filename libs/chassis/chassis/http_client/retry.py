"""When a call to another service may be tried again, how often, and after how long."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_full_jitter,
)
from tenacity.stop import stop_base

from chassis.http_client.breaker import BreakerPolicy
from chassis.http_client.response import UpstreamUnavailable

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """How one peer is called. Seconds throughout; the total is of all attempts and waits."""

    total_timeout: float = 3.0
    connect_timeout: float = 0.5
    read_timeout: float = 2.0
    pool_timeout: float = 0.2
    max_connections: int = 100
    keepalive: float = 3.0  # below uvicorn's 5: else a POST meets a connection just being closed
    attempts: int = 3
    backoff: float = 0.1  # full jitter: the n-th wait is between 0 and backoff * 2**(n-1) ...
    backoff_max: float = 1.0  # ... and never above this
    retry_ratio: float = 0.1  # retries that each call pays for
    retry_floor: float = 2.0  # retries a second that need no calls to pay for them
    retry_reserve: float = 50.0  # at most so many are saved up
    least_trial: float = 0.1  # given less time than this, a timeout says nothing of the peer
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)


class RetryBudget:
    """A token bucket that keeps a broken peer from being asked three times as often.

    Each call deposits `retry_ratio` of a token, time `retry_floor` a second; a retry takes one.
    Without it 1,000 calls to a peer that always answers 503 become 3,000 requests.
    """

    def __init__(self, policy: ClientPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._filled_at = clock()
        self._tokens = min(policy.retry_reserve, policy.retry_floor * 5)

    def deposit(self) -> None:
        """One call begins."""
        now = self._clock()
        earned = self._policy.retry_ratio + (now - self._filled_at) * self._policy.retry_floor
        self._filled_at = now
        self._tokens = min(self._policy.retry_reserve, self._tokens + earned)

    def withdraw(self) -> bool:
        """True, and one token less, when one more retry can be paid."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def retry_after_seconds(value: str | None) -> float | None:
    """`Retry-After` in seconds from now, from seconds or a date (RFC 9110 10.2.3); else None."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


class _WaitAsTold(wait_full_jitter):
    """Full jitter, on top of what the peer asked for in `Retry-After`."""

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        told = error.retry_after if isinstance(error, UpstreamUnavailable) else None
        return float(super().__call__(retry_state)) + (told or 0.0)


class _StopUnpaid(stop_base):
    """Asked last, so that only a retry that would really be made pays."""

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget

    def __call__(self, retry_state: RetryCallState) -> bool:
        return not self._budget.withdraw()


def retrying(
    policy: ClientPolicy, budget: RetryBudget, seconds: float, on_retry: Callable[[], None]
) -> AsyncRetrying:
    """The retry loop of one call; ends in its reply or in the last attempt's error.

    Args:
        seconds: what is left of the deadline; a wait that would pass it is not begun.
        on_retry: called before each wait.
    """
    enough = stop_after_attempt(policy.attempts) | stop_before_delay(seconds)
    return AsyncRetrying(
        retry=retry_if_exception(lambda e: isinstance(e, UpstreamUnavailable) and e.retryable),
        wait=_WaitAsTold(multiplier=policy.backoff, max=policy.backoff_max),
        stop=enough | _StopUnpaid(budget),
        before_sleep=lambda _: on_retry(),
        reraise=True,
    )
