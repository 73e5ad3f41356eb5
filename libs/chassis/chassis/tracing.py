"""W3C trace context: the one id that follows a request through HTTP, the outbox, Kafka and mail.

The context lives in a context variable. Incoming edges (HTTP middleware, Kafka consumer) call
`continue_trace`; outgoing edges send `traceparent()`. Source: https://www.w3.org/TR/trace-context/.
"""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of a trace: ids in lower-case hex (32 and 16 digits), flags in hex (2 digits)."""

    trace_id: str
    span_id: str
    flags: str = "01"

    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


_random_bits = random.Random().getrandbits  # noqa: S311  unique, not secret: no system call each

_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def current_trace() -> TraceContext | None:
    return _current.get()


def traceparent() -> str | None:
    """The header value that an outgoing call or message carries; None outside a trace."""
    context = _current.get()
    return context.traceparent() if context else None


def parse_traceparent(value: str | None) -> TraceContext | None:
    """The context that a header names, or None where it is missing or malformed.

    Flags are kept as they came: 03 (the random bit of level 2) is as good as 01.
    """
    match = _TRACEPARENT.match(value) if value else None
    if match is None or match[1] == _NO_TRACE or match[2] == _NO_SPAN:
        return None
    return TraceContext(match[1], match[2], match[3])


def enter_trace(parent: str | None) -> TraceContext:
    """Continue the trace of `parent` with a span of our own, or begin one; for the current task."""
    above = parse_traceparent(parent)
    context = TraceContext(
        trace_id=above.trace_id if above else f"{_random_bits(128):032x}",
        span_id=f"{_random_bits(64):016x}",
        flags=above.flags if above else "01",
    )
    _current.set(context)
    return context


@contextmanager
def continue_trace(parent: str | None) -> Iterator[TraceContext]:
    """As `enter_trace`, for a block of code: what was current before is current again after."""
    token = _current.set(None)
    try:
        yield enter_trace(parent)
    finally:
        _current.reset(token)
