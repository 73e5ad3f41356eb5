"""Errors of a call to another service."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a call has no usable response; also the metrics' `outcome` label."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    CIRCUIT_OPEN = "circuit_open"
    BAD_ANSWER = "bad_answer"  # status 429 or 500 and above, or a body that breaks the contract


@dataclass(eq=False)
class UpstreamUnavailable(Exception):
    """The peer gave no usable response. Each service maps it to a problem of its own.

    Attributes:
        reason: why the last attempt failed.
        status: status of the last response, if there was one.
        retry_after: seconds that the peer or the open circuit asks for.
        attempts: number of requests made.
        maybe_executed: at least one request may have reached the peer and run there.
        retryable: another attempt would be safe; time or retry budget did not allow it.
        counts_as_failure: the circuit breaker counts the call as a failure of the peer.
    """

    target: str
    reason: Reason
    status: int | None = None
    retry_after: float | None = None
    attempts: int = 0
    maybe_executed: bool = False
    retryable: bool = False
    counts_as_failure: bool = False

    def __str__(self) -> str:
        status = f" ({self.status})" if self.status else ""
        return f"{self.target}: {self.reason.value}{status}, {self.attempts} attempts"


def is_peer_failure(error: BaseException) -> bool:
    """Return whether the circuit breaker counts this error as a failure of the peer."""
    return isinstance(error, UpstreamUnavailable) and error.counts_as_failure
