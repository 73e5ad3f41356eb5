"""Retry policy: number of attempts, and full-jitter exponential backoff."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after how many seconds, an operation is retried.

    Full jitter spreads the retries of concurrent callers and replicas over time.
    """

    attempts: int = 5
    backoff: float = 0.2  # wait n is between 0 and backoff * 2**(n-1) ...
    backoff_max: float = 5.0  # ... and at most this

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after `failures` consecutive failures, at least one."""
        ceiling = min(self.backoff_max, self.backoff * 2.0 ** min(failures - 1, 30))
        return random.uniform(0.0, ceiling)  # noqa: S311  spreads load, keeps no secret
