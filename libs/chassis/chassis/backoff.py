"""How often, and after how long, something is tried again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds throughout. Full jitter: the waits of many partitions and replicas never line up."""

    attempts: int = 5  # tries of one message before it becomes a dead letter
    backoff: float = 0.2  # the n-th wait is between 0 and backoff * 2**(n-1) ...
    backoff_max: float = 5.0  # ... and never above this
    commit_timeout: float = 30.0  # then the membership is given up and begun anew
    halt_after: int = 20  # dead letters in a row (unreadable, refused ones aside), then a full stop

    def delay(self, failures: int) -> float:
        """How long to wait after the `failures`-th failure in a row, counted from 1."""
        ceiling = min(self.backoff_max, self.backoff * 2.0 ** min(failures - 1, 30))
        return random.uniform(0.0, ceiling)  # noqa: S311  spreads load, keeps no secret
