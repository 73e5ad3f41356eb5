"""What a call to a peer may come to: an answer, a failure, and the metrics of both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Reason(StrEnum):
    """Why there is no answer to work with."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    CIRCUIT_OPEN = "circuit_open"
    BAD_ANSWER = "bad_answer"  # 429, 500 or above, or not what was agreed


@dataclass(eq=False)
class UpstreamUnavailable(Exception):
    """The peer gave no answer to work with; each service maps it to a problem of its own.

    Attributes:
        reason: what went wrong last.
        status: the last answer's, where there was one.
        retry_after: seconds that the peer, or the open circuit, asks for.
        attempts: how many requests were made.
        maybe_executed: one of them may have reached the peer, so it may have run.
        retryable: another attempt would be safe (there was no time, or no budget, for it).
        speaks_against_peer: the circuit counts it as a failure.
    """

    target: str
    reason: Reason
    status: int | None = None
    retry_after: float | None = None
    attempts: int = 0
    maybe_executed: bool = False
    retryable: bool = False
    speaks_against_peer: bool = False

    def __str__(self) -> str:
        said = f" ({self.status})" if self.status else ""
        return f"{self.target}: {self.reason.value}{said}, {self.attempts} attempts"


def is_peers_failure(error: BaseException) -> bool:
    """Whether a circuit counts it."""
    return isinstance(error, UpstreamUnavailable) and error.speaks_against_peer


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer below 500 (and not 429).

    Attributes:
        content: the body's bytes, for `Model.model_validate_json`.
        attempts: how many requests were made, this one included.
        unanswered_attempts: how many earlier ones may have run at the peer although it did not say
            so: no reply at all, or 502, 503, 504. A refusal then does not prove that nothing ran.
    """

    target: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    attempts: int = 1
    unanswered_attempts: int = 0

    def json(self) -> Any:
        """The body, fractions as Decimal.

        Raises:
            UpstreamUnavailable: it is not JSON; BAD_ANSWER.
        """
        try:
            return json.loads(self.content, parse_float=Decimal, parse_constant=_refuse)
        except (ValueError, RecursionError, ArithmeticError) as error:
            raise UpstreamUnavailable(
                self.target, Reason.BAD_ANSWER, self.status, None, self.attempts, True
            ) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def segment(value: str) -> str:
    """Data as one segment of a path; `..` too, which unescaped would be another address."""
    return quote(value, safe="") if value.strip(".") else value.replace(".", "%2E")


class UpstreamMetrics:
    """What is measured of calls to peers; every label comes from a closed set."""

    _of: ClassVar["WeakKeyDictionary[CollectorRegistry, UpstreamMetrics]"] = WeakKeyDictionary()

    def __init__(self, registry: CollectorRegistry) -> None:
        self.call_seconds = Histogram(
            "upstream_call_seconds",
            "Time of one call to a peer, retries included, in seconds",
            ["target", "outcome"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.retries = Counter(
            "upstream_retries", "Requests made again", ["target"], registry=registry
        )
        self.circuit_state = Gauge(
            "circuit_state", "0 closed, 1 half-open, 2 open", ["target"], registry=registry
        )
        self.circuit_refused = Counter(
            "circuit_refused", "Calls that an open circuit refused", ["target"], registry=registry
        )

    @classmethod
    def of(cls, registry: CollectorRegistry) -> "UpstreamMetrics":
        """One set for each registry, however many peers share it."""
        if registry not in cls._of:
            cls._of[registry] = cls(registry)
        return cls._of[registry]
