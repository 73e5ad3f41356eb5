"""Retries of a call to another service: which, how many, and after how long."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
)

from chassis.backoff import RetryPolicy
from chassis.http_client.errors import UpstreamUnavailable

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    """How many retries the calls to one peer may make together."""

    retries_per_call: float = 0.1
    retries_per_second: float = 2.0
    reserve: float = 50.0  # upper bound of saved retries


class RetryBudget:
    """Token bucket that bounds the retries of all calls to one peer.

    Each call and each second add to it; a retry takes one token. Without it, 1,000 calls to a peer
    that always answers 503 become 3,000 requests.
    """

    def __init__(
        self, policy: BudgetPolicy | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy = policy or BudgetPolicy()
        self._clock = clock
        self._filled_at = clock()
        self._tokens = min(policy.reserve, policy.retries_per_second * 5)

    def deposit(self) -> None:
        """Add the share of one call, and of the time since the last one."""
        now = self._clock()
        policy = self._policy
        earned = policy.retries_per_call + (now - self._filled_at) * policy.retries_per_second
        self._filled_at = now
        self._tokens = min(policy.reserve, self._tokens + earned)

    def withdraw(self) -> bool:
        """Take one token; return False if there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def retry_after_seconds(value: str | None) -> float | None:
    """Parse a `Retry-After` header (RFC 9110 10.2.3) to seconds from now.

    Returns:
        None if the header is missing or malformed.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def retrying(
    policy: RetryPolicy, budget: RetryBudget, seconds: float, on_retry: Callable[[], None]
) -> AsyncRetrying:
    """Return the retry loop of one call. It returns the reply or raises the last attempt's error.

    Args:
        seconds: time left until the deadline; a wait that would exceed it is not started.
        on_retry: called before each wait.
    """

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        requested = error.retry_after if isinstance(error, UpstreamUnavailable) else None
        return policy.delay(state.attempt_number) + (requested or 0.0)

    limit = stop_after_attempt(policy.attempts) | stop_before_delay(seconds)

    def stop(state: RetryCallState) -> bool:
        # The budget comes last, so that only a retry that will be made takes a token.
        return limit(state) or not budget.withdraw()

    return AsyncRetrying(
        retry=retry_if_exception(lambda e: isinstance(e, UpstreamUnavailable) and e.retryable),
        wait=wait,
        stop=stop,
        before_sleep=lambda _: on_retry(),
        reraise=True,
    )
