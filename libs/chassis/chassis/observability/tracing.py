"""W3C trace context and spans: the one id that follows a request through HTTP, outbox, Kafka, mail.

The context lives in a context variable. Incoming edges (HTTP middleware, Kafka consumer) continue
the sender's; outgoing edges send `traceparent()`. Source: https://www.w3.org/TR/trace-context/.

Whether a trace is recorded is decided once, where it begins, and stands in the context's flags.
Spans go to one sink of the process (`chassis.observability.telemetry`). Without a sink, or in a
trace that is not recorded, a span costs a look at two variables, and the context goes on as it is.
"""

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from enum import Enum, auto
from types import TracebackType
from typing import NamedTuple

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16
_ODD = frozenset("13579bdf")


class TraceContext(NamedTuple):
    """One span of a trace: ids in lower-case hex (32 and 16 digits), flags in hex (2 digits).

    Attributes:
        parent_id: the span above; empty where the trace begins here.
    """

    trace_id: str
    span_id: str
    flags: str = "01"
    parent_id: str = ""

    @property
    def recorded(self) -> bool:
        """Whether its spans are to be kept."""
        return self.flags[1] in _ODD

    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


class Kind(Enum):
    """What a span is to the one above it, in OpenTelemetry's words."""

    INTERNAL = auto()
    SERVER = auto()
    CLIENT = auto()
    PRODUCER = auto()
    CONSUMER = auto()


Attributes = Mapping[str, str | int]


class Span(NamedTuple):
    """A piece of work that is over. Times are nanoseconds since 1970.

    Attributes:
        name, attributes: from closed sets; no path, id of a person, address or token.
        error: the class of what ended it badly; empty where it ended well.
    """

    context: TraceContext
    name: str
    kind: Kind
    started: int
    ended: int
    attributes: Attributes
    error: str


Sink = Callable[[Span], None]


class _Recording:
    """The process's one sink, as the root logger is its one log."""

    sink: Sink | None = None
    ratio: float = 1.0


_random = random.Random()  # noqa: S311  unique, not secret: no system call each
_random_bytes = _random.randbytes

_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def record_to(sink: Sink | None, ratio: float = 1.0) -> None:
    """Hand the spans of this process to `sink`, which returns at once; None: to nobody.

    Args:
        ratio: how many of the traces that begin here are recorded.
    """
    _Recording.sink, _Recording.ratio = sink, ratio


def is_recording(trace: TraceContext | None = None) -> bool:
    """Whether this process keeps the spans of `trace`, the current one unless told."""
    if _Recording.sink is None:
        return False
    trace = trace or _current.get()
    return trace is not None and trace.flags[1] in _ODD


def draw() -> bool:
    """Decide for a trace that begins here. Without a sink others may record it."""
    return _Recording.sink is None or _random.random() < _Recording.ratio


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


def enter_trace(parent: str | None, *, recorded: bool | None = None) -> TraceContext:
    """Continue the trace of `parent` with a span of our own, or begin one; for the current task.

    Args:
        recorded: whether it is recorded from here on; None: as the parent says, else by a draw.
    """
    above = parse_traceparent(parent)
    if recorded is None and above is not None:
        flags = above.flags
    else:
        flags = "01" if (draw() if recorded is None else recorded) else "00"
    if above is None:
        ids = _random_bytes(24).hex()
        context = TraceContext(ids[:32], ids[32:], flags)
    else:
        context = TraceContext(above.trace_id, _random_bytes(8).hex(), flags, above.span_id)
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


@contextmanager
def carrying(parent: str | None) -> Iterator[None]:
    """What the block does is done for `parent`, which lies in another process or in the past."""
    token = _current.set(parse_traceparent(parent))
    try:
        yield
    finally:
        _current.reset(token)


def record(
    context: TraceContext,
    name: str,
    kind: Kind,
    nanoseconds: int,
    attributes: Attributes,
    error: str = "",
    *,
    ended: int | None = None,
) -> None:
    """A span of so many nanoseconds; forgotten where its trace is not recorded.

    Args:
        ended: nanoseconds since 1970; now, unless told.
    """
    if _Recording.sink is not None and context.recorded:
        ended = ended or time.time_ns()
        _Recording.sink(Span(context, name, kind, ended - nanoseconds, ended, attributes, error))


class Work:
    """A span that is not over yet; see `span`."""

    __slots__ = (
        *("_attributes", "_began", "_kind", "_name", "_refusals", "_token", "_trace"),
        "error",
    )

    def __init__(
        self,
        trace: TraceContext,
        name: str,
        kind: Kind,
        attributes: Attributes,
        refusals: type[Exception] | None = None,
    ) -> None:
        self._trace = trace
        self._refusals = refusals
        self._name = name
        self._kind = kind
        self._attributes = dict(attributes)
        self.error = ""

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute, from a closed set."""
        self._attributes[name] = value

    def __enter__(self) -> "Work":
        self._token: Token[TraceContext | None] = _current.set(self._trace)
        self._began = time.perf_counter_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        took = time.perf_counter_ns() - self._began
        if kind is not None and not (self._refusals and issubclass(kind, self._refusals)):
            self.error = self.error or kind.__name__
        record(self._trace, self._name, self._kind, took, self._attributes, self.error)


class _Unrecorded(Work):
    """Stands for a span where nothing is recorded."""

    __slots__ = ()

    def __init__(self) -> None: ...

    def __setattr__(self, name: str, value: object) -> None: ...

    def note(self, name: str, value: str | int) -> None: ...

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None: ...


_UNRECORDED = _Unrecorded()
_NOTHING: Attributes = {}


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    attributes: Attributes = _NOTHING,
    *,
    refusals: type[Exception] | None = None,
) -> Work:
    """A piece of work within the current trace, as a context manager.

    Where it is recorded it is the current span of the block, so what goes out from there has it as
    parent.

    Args:
        name, attributes: from closed sets: see `Span`.
        refusals: errors that are an answer like any other, and no failure of this work.
    """
    above = None if _Recording.sink is None else _current.get()
    if above is None or above.flags[1] not in _ODD:
        return _UNRECORDED
    span_id = _random_bytes(8).hex()
    trace = TraceContext(above.trace_id, span_id, above.flags, above.span_id)
    return Work(trace, name, kind, attributes, refusals)


@contextmanager
def continued_span(
    parent: str | None, name: str, kind: Kind, attributes: Attributes
) -> Iterator[Work]:
    """As `continue_trace`, with its span recorded."""
    with continue_trace(parent) as trace, Work(trace, name, kind, attributes) as work:
        yield work
